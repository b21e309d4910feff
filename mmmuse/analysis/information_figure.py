"""Figures 2 and 3 of the paper from what runs logged."""

import io
import math
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from mmmuse.checkpoints.synced_write import write_synced
from mmmuse.hooks.information_logger import UNINFORMED

from .information import Curves, curves_of, peers_of

_TITLE = 'MI and SI losses during training'
_ROWS = (
    ('mi', 'MI loss with the last feature (nats)'),
    ('si', 'SI loss (nats)'),
    ('ratio', "MUSE's gradient / the task's"),
)


def information_figure(
    runs: dict[str, Curves], title: str = _TITLE, chosen: int | None = None
) -> Figure:
    """Return a figure of MI (upper row, figure 2), SI (figure 3) and the gradients' ratio of runs.

    Runs are side by side, and each network of an online run has a column of its own. The ratio's
    row is there where a run logged it. Where a run did not log what another one did, the figure has
    a blank space. A dotted line is the loss of an untrained critic (2 log 2), where the run's
    estimators have one such number. Modules have the numbers of their exits.

    Args:
        runs: Curves by the title of their column; see :func:`mmmuse.analysis.information.
            read_information`.
        title: Of the figure.
        chosen: Number of the module whose exit was chosen; its curves are marked.
    """
    columns = [(title, peer, curves) for title, curves in runs.items() for peer in peers_of(curves)]
    rows = [row for row in _ROWS if any(curves_of(*_of(column), row[0]) for column in columns)]
    figure, axes = plt.subplots(
        len(rows),
        len(columns),
        figsize=(2 + 4.2 * len(columns), 3.2 * len(rows)),
        squeeze=False,
        sharey='row',
        layout='constrained',
    )
    for j, (name, peer, curves) in enumerate(columns):
        for (kind, label), row in zip(rows, axes, strict=True):
            axis = row[j]
            drawn = curves_of(curves, peer, kind)
            if not drawn:
                axis.set_axis_off()
                continue
            _draw(axis, drawn, chosen)
            # Matplotlib writes the shared numbers in the first column, which may be blank.
            axis.tick_params(labelleft=not any(before.axison for before in row[:j]))
            axis.set_xlabel('training steps')
            axis.set_ylabel(label)
            if kind == 'ratio':
                axis.set_yscale('log')
            elif UNINFORMED in curves:
                _draw_uninformed(axis, list(curves[UNINFORMED].values())[-1])
        axes[0, j].set_title(name if peer is None else f'{name}: {peer}', parse_math=False)
    handles = {
        label: handle
        for axis in axes.flat
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc='outside right center')
    figure.suptitle(title, parse_math=False)
    return figure


def draw_information(runs: dict[str, Curves], out: Path, title: str = _TITLE) -> None:
    """Write the PNG of :func:`information_figure`.

    Args:
        runs: See there.
        out: The picture to write; its ending names the format.
        title: Of the figure.
    """
    figure = information_figure(runs, title)
    with io.BytesIO() as file:
        figure.savefig(file, dpi=150, format=out.suffix[1:].lower())
        write_synced(out, file.getvalue())
    plt.close(figure)


def _of(column: tuple[str, str | None, Curves]) -> tuple[Curves, str | None]:
    _, peer, curves = column
    return curves, peer


def _draw(axis: plt.Axes, curves: Curves, chosen: int | None) -> None:
    for name, points in curves.items():
        steps = sorted(points)
        is_ratio, is_chosen = name == 'ratio', name == str(chosen)
        mark = ' (chosen exit)' if is_chosen else ''
        axis.plot(
            steps,
            [points[step] for step in steps],
            label='gradient ratio' if is_ratio else f'module {name}{mark}',
            color=plt.rcParams['text.color'] if is_ratio else None,
            linewidth=3 if is_chosen else None,
            marker='.' if len(steps) < 30 else None,
        )
    axis.grid(alpha=0.3)


def _draw_uninformed(axis: plt.Axes, value: float) -> None:
    label = (
        'untrained critic: 2 log 2' if math.isclose(value, 2 * math.log(2)) else 'untrained critic'
    )
    axis.axhline(value, color='grey', linestyle=':', linewidth=1, label=label)
