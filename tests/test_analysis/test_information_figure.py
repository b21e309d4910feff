import math

import pytest

from mmmuse.analysis import information_figure
from mmmuse.analysis.information import read_information
from mmmuse.analysis.information_figure import draw_information

from ..test_hooks.test_student_checkpoint import distiller_config, train

MUSE = {
    'mi_loss_1': {10: 1.3, 20: 1.0},
    'mi_loss_2': {10: 1.2, 20: 0.5},
    'si_loss_1': {10: 1.1, 20: 0.75},
}
UNINFORMED = {'uninformed_loss': {10: 2 * math.log(2), 20: 2 * math.log(2)}}
RATIO = {'gradient_ratio': {10: 0.01, 20: 0.5}}


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """A function that draws runs and returns the figure that was saved, its axes by row."""

    def draw(runs):
        figures = []
        monkeypatch.setattr(information_figure.plt, 'close', figures.append)
        draw_information(runs, tmp_path / 'drawn.png')
        monkeypatch.undo()
        assert (tmp_path / 'drawn.png').read_bytes().startswith(b'\x89PNG')
        (figure,) = figures
        grid = figure.axes[0].get_gridspec()
        axes = [figure.axes[i : i + grid.ncols] for i in range(0, len(figure.axes), grid.ncols)]
        information_figure.plt.close(figure)
        return figure, axes

    return draw


def labels(axis) -> list[str]:
    return [line.get_label() for line in axis.lines]


def test_rows_are_mi_si_and_the_ratio_on_a_logarithmic_scale(drawn):
    _, axes = drawn({'run': MUSE | UNINFORMED | RATIO})
    mi, si, ratio = (axis for (axis,) in axes)
    assert [list(line.get_ydata()) for line in mi.lines[:2]] == [[1.3, 1.0], [1.2, 0.5]]
    assert [list(line.get_ydata()) for line in si.lines[:1]] == [[1.1, 0.75]]
    assert [list(line.get_ydata()) for line in ratio.lines] == [[0.01, 0.5]]
    assert (mi.get_yscale(), si.get_yscale(), ratio.get_yscale()) == ('linear', 'linear', 'log')
    assert len(drawn({'run': MUSE})[1]) == 2  # A run that logged no ratio has no row for it.


def test_the_line_of_an_untrained_critic_is_in_the_columns_of_runs_that_logged_it(drawn):
    figure, axes = drawn({'jsd': MUSE | UNINFORMED | RATIO, 'other': MUSE | RATIO})
    line = 'untrained critic: 2 log 2'
    assert [[line in labels(axis) for axis in row] for row in axes] == [
        [True, False],
        [True, False],
        [False, False],
    ]
    (found,) = (line for line in axes[0][0].lines if line.get_linestyle() == ':')
    assert list(found.get_ydata()) == pytest.approx([1.386294, 1.386294])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        'module 1',
        'module 2',
        line,
        'gradient ratio',
    ]


def test_a_run_has_no_axes_for_what_it_did_not_log(drawn):
    mi = {name: points for name, points in MUSE.items() if name.startswith('mi')}
    _, axes = drawn({'MI alone': mi | UNINFORMED, 'SI alone': {'si_loss_1': MUSE['si_loss_1']}})
    assert [[axis.axison for axis in row] for row in axes] == [[True, False], [False, True]]
    assert [len(axis.lines) for row in axes for axis in row] == [3, 0, 0, 1]
    assert [axis.get_title() for axis in axes[0]] == ['MI alone', 'SI alone']
    assert all(
        axis.yaxis.get_tick_params()['labelleft'] for row in axes for axis in row if axis.axison
    )


def test_each_peer_has_a_column(drawn):
    curves = {f'{peer}.{name}': points for peer in 'ab' for name, points in (MUSE | RATIO).items()}
    _, axes = drawn({'pair': curves, 'self': MUSE})
    assert [axis.get_title() for axis in axes[0]] == ['pair: a', 'pair: b', 'self']
    assert [len(row) for row in axes] == [3, 3, 3]
    assert labels(axes[0][1]) == ['module 1', 'module 2']


def test_every_axis_is_named_and_the_legend_is_beside_all_of_them(drawn):
    figure, axes = drawn({'jsd': MUSE | UNINFORMED | RATIO, 'other': MUSE | RATIO})
    legend = figure.legends[0].get_window_extent()
    for axis in (axis for row in axes for axis in row):
        assert axis.get_xlabel()
        assert axis.get_ylabel()
        assert axis.get_window_extent().x1 < legend.x0


@pytest.mark.parametrize(
    ('estimator', 'has_line'),
    [('JensenShannon', True), ('InfoNCE', False), ('NWJ', False)],
)
def test_only_a_jensen_shannon_run_has_the_line(drawn, tmp_path, estimator, has_line):
    config = distiller_config()
    config['head']['discrepancy']['estimator'] = dict(type=f'mmmuse.{estimator}')
    hooks = [dict(type='mmmuse.InformationLoggerHook', interval=1)]
    train(tmp_path, config, custom_hooks=hooks)
    _, ((mi,), (si,), (ratio,)) = drawn({'run': read_information(tmp_path)})
    assert [line.get_label() for line in mi.lines][:3] == ['module 1', 'module 2', 'module 3']
    assert [any('untrained' in name for name in labels(axis)) for axis in (mi, si, ratio)] == [
        has_line,
        has_line,
        False,
    ]
