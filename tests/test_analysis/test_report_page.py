"""What a report shows, read from its HTML: every figure is the one in the run's files."""

import csv
import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from mmengine.config import Config

from mmmuse.analysis.early_exit_table import read_early_exit
from mmmuse.analysis.exit_figure import Line, Point, exit_figure
from mmmuse.analysis.report_content import Report
from mmmuse.analysis.report_page import render
from mmmuse.analysis.run_accuracy import baseline_of, chosen_exit, columns_of, last_accuracy
from mmmuse.analysis.run_costs import RunCost
from mmmuse.analysis.run_record import read_run
from mmmuse.errors import InputError

from .logs import evaluation, information, training, write_records
from .pages import Page

SCRIPT = '<script>alert(1)</script>'
MODEL = dict(
    type='mmmuse.SelfDistiller',
    student=dict(type='ImageClassifier', backbone=dict(type='ResNet', depth=18)),
    taps=dict(
        modules=['backbone.layer1', 'backbone.layer2'], last='backbone.layer4', logits='head'
    ),
    head=dict(type='mmmuse.MUSEHead', discrepancy=dict(type='mmmuse.MUSELoss', loss_weight=0.5)),
)
COSTS = {
    1: RunCost('backbone.layer1', 250_000, 1_500_000),
    2: RunCost('backbone.layer2', 500_000, 2_250_000),
    3: RunCost('backbone.layer4', 1_000_000, 3_000_000),
}
RECORDS = [
    information(10, mi_loss_1=1.25, mi_loss_2=1.125, si_loss_1=1.5, gradient_ratio=0.0625),
    training(10, loss=9.0, loss_student=2.0, mi_loss_1=1.25),
    evaluation(1, **{'accuracy/top1': 50.0, 'exit1/top1': 40.25, 'exit2/top1': 45.5})
    | {'exit3/top1': 50.0},
    information(20, mi_loss_1=1.0, mi_loss_2=0.5, si_loss_1=0.75, gradient_ratio=0.125),
    training(20, loss=8.0, loss_student=1.0),
    evaluation(2, **{'accuracy/top1': 61.0, 'exit1/top1': 52.75, 'exit2/top1': 60.5})
    | {'exit3/top1': 61.0},
]
LOG = """2026/01/02 03:04:05 - mmengine - INFO -
------------------------------------------------------------
System environment:
    Python: 3.11.0
    GPU 0: Some <b>GPU</b>
    PyTorch compiling details: PyTorch built with:
  - GCC 13.3

Runtime environment:
    seed: 7
------------------------------------------------------------
2026/01/02 03:04:05 - mmengine - INFO - command: mmmuse train a.py --cfg-options 'b="c"'
"""


@pytest.fixture
def drawn() -> None:
    """The pictures of the test's pages are drawn; of others only their figures are made."""


@pytest.fixture(autouse=True)
def _pictures(request, monkeypatch):
    if 'drawn' not in request.fixturenames:
        monkeypatch.setattr(Figure, 'savefig', lambda figure, file, **_: file.write(b'<svg/>'))


@pytest.fixture
def work_dir(tmp_path) -> Path:
    """A finished run of two epochs with three exits."""
    return run_in(tmp_path / 'run', RECORDS)


def run_in(folder: Path, records: list[dict], log: str = LOG, name: str = '1', **config) -> Path:
    write_records(folder, name, records)
    content = dict(model=MODEL, train_cfg=dict(max_epochs=2), default_scope='mmpretrain') | config
    (folder / name / 'vis_data' / 'config.py').write_text(Config(content).pretty_text)
    (folder / name / f'{name}.log').write_text(log)
    return folder


def report_of(work_dir: Path, costs=COSTS, baseline=None, max_loss=None, **others) -> Report:
    record = read_run(work_dir)
    columns = columns_of(record, max(costs, default=None))
    accuracy = last_accuracy(columns, record.evaluations)
    chosen = None
    if len(accuracy) > 1:
        macs = {number: cost.macs for number, cost in costs.items()}
        chosen = chosen_exit(accuracy, record.evaluations, macs, baseline, max_loss)
    text = record.config_file.read_text() if record.config_file else ''
    note = 'for one image'
    return Report(
        record, columns, accuracy, costs, note, baseline, chosen, config_text=text, **others
    )


def page_of(work_dir: Path, **options) -> Page:
    return Page(render(report_of(work_dir, **options)))


def test_every_accuracy_is_in_the_table_of_epochs(work_dir):
    rows = page_of(work_dir).table('epoch')
    assert rows == [
        ['epoch', 'exit 1 (%)', 'exit 2 (%)', 'full network (exit 3) (%)'],
        ['1', '40.25', '45.50', '50.00'],
        ['2', '52.75', '60.50', '61.00'],
    ]


def test_cost_and_last_accuracy_are_in_the_table_of_exits_and_the_chosen_one_is_marked(work_dir):
    page = page_of(work_dir)
    rows = page.table('exit')
    assert rows[0] == [
        *('exit', 'module', 'top-1 accuracy (%)', 'parameters (M)', 'multiply-adds (M)'),
        '% of full',
    ]
    assert rows[1:] == [
        ['1', 'backbone.layer1', '52.75', '0.250', '1.50', '50.0'],
        ['2', 'backbone.layer2', '60.50', '0.500', '2.25', '75.0'],
        ['3 (full)', 'backbone.layer4', '61.00', '1.000', '3.00', '100.0'],
    ]
    assert page.marked == [rows[2]]  # At most one point below 61.
    assert 'Chosen exit: exit 2.' in page.text
    assert 'at least 60.00 %: 1 point below the full network' in page.text


def test_the_rule_follows_the_baseline(work_dir):
    page = page_of(work_dir, baseline=Line('baseline', 52.0))
    assert 'Chosen exit: exit 1.' in page.text
    assert 'at least 52.00 %: the accuracy of the baseline' in page.text
    page = page_of(work_dir, baseline=Line('baseline', 99.0))
    assert 'Chosen exit: no exit reaches it.' in page.text
    assert page.marked == []
    page = page_of(work_dir, baseline=Line('baseline', 99.0), max_loss=0.0)
    assert 'Chosen exit: exit 3.' in page.text


def test_information_is_that_of_the_log(work_dir):
    assert page_of(work_dir).table('step') == [
        ['step', 'MI 1 (nats)', 'MI 2 (nats)', 'SI 1 (nats)', 'gradient ratio'],
        ['10', '1.250', '1.125', '1.500', '0.062'],
        ['20', '1.000', '0.500', '0.750', '0.125'],
    ]


def test_long_tables_of_steps_are_thinned_and_keep_the_last_one(tmp_path):
    records = [information(step, mi_loss_1=1.0) for step in range(1, 251)]
    page = page_of(run_in(tmp_path / 'run', [*records, training(250, loss=1.0)]))
    rows = page.table('step')[1:]
    assert [row[0] for row in rows[:2]] == ['1', '4']
    assert rows[-1][0] == '250'
    assert 'One of 3 logged steps is listed.' in page.text


def test_settings_command_and_environment_are_named(work_dir):
    page = page_of(work_dir)
    facts = page.facts()
    assert facts['Method'] == 'SelfDistiller'
    assert facts['Student'] == 'ImageClassifier: ResNet (depth 18)'
    assert facts['Tap 2'] == 'backbone.layer2'
    assert facts['Loss between features'] == 'MUSELoss (loss_weight 0.5)'
    assert facts['1'] == """mmmuse train a.py --cfg-options 'b="c"'"""
    assert facts['GPU 0'] == 'Some <b>GPU</b>'
    assert facts['seed'] == '7'
    assert 'b' in page.tags  # Of the boxes, not of the log:
    assert 'Finished: epoch 2 of 2.' in page.text


def test_the_page_loads_nothing_and_its_pictures_have_texts(work_dir, drawn):
    page = page_of(work_dir)
    assert page.urls
    assert all(url.startswith('data:image/') for url in page.urls)
    assert not {'script', 'link', 'iframe', 'object', 'a', 'form'} & set(page.tags)
    assert len(page.images) == 3
    assert all(len(image['alt']) > 30 for image in page.images)
    assert 'exit 2 60.50 at 2.25 M' in page.images[1]['alt']
    assert page.tags.count('source') == 3  # Each is drawn for dark screens as well.
    assert page.titles[:2] == ['run: report of a run', 'run']


def test_no_text_of_a_run_is_read_as_html(tmp_path, drawn):
    model = MODEL | dict(student=dict(type=SCRIPT, backbone=dict(type=f'"onload="{SCRIPT}')))
    records = [
        evaluation(1, **{f'{peer}/{SCRIPT[1:-1]}': 1.0 for peer in ('average', 'a<b>', '$x', '_y')})
    ]
    log = LOG.replace('seed: 7', f'seed: {SCRIPT}').replace('b="c"', SCRIPT)
    log += f'2026/01/02 03:04:05 - mmengine - ERROR - {SCRIPT}\n'
    folder = run_in(
        tmp_path / '<script>x<', records, log, model=model, train_cfg=dict(max_epochs=9)
    )
    (folder / '<script>.pth').touch()
    page = page_of(folder, pictures={SCRIPT: b''}, costs={})
    assert 'script' not in page.tags
    assert all(url.startswith('data:image/') for url in page.urls)
    assert page.text.count(SCRIPT) >= 4
    assert page.titles[1] == '<script>x<'
    assert page.table('epoch')[0][1:] == [f'{peer}: full network' for peer in ('$x', '_y', 'a<b>')]


def test_a_plain_baseline_says_what_it_has_not(tmp_path):
    records = [training(5, loss=1.0), evaluation(1, **{'accuracy/top1': 70.0})]
    folder = run_in(tmp_path / 'plain', records, model=MODEL['student'])
    page = page_of(folder, costs={})
    assert page.table('epoch')[1:] == [['1', '70.00']]
    assert 'The run has no exits' in page.text
    assert page.text.count('not measured') == 3  # Costs, information, early exit.
    assert page.facts()['Method'] == 'none: a network without distillation'
    assert 'Not finished: epoch 1 of 2 was logged.' in page.text


def test_each_peer_has_its_columns(tmp_path, drawn):
    metrics = {'average/accuracy/top1': 40.0, 'a/accuracy/top1': 30.0, 'b/accuracy/top1': 50.0}
    records = [
        training(5, loss=3.0, a__loss=1.0, b__loss=2.0),
        information(5, a__mi_loss_1=1.25, b__mi_loss_1=0.5),
        evaluation(2, **metrics),
    ]
    peer = dict(model=MODEL['student'], taps=dict(last='backbone.layer4'))
    model = dict(type='mmmuse.OnlineDistiller', peers=dict(a=peer, b=peer))
    page = page_of(run_in(tmp_path / 'online', records, model=model), costs={})
    assert page.table('epoch') == [
        ['epoch', 'a: full network (%)', 'b: full network (%)'],
        ['2', '30.00', '50.00'],
    ]
    assert page.table('step')[0] == ['step', 'a: MI 1 (nats)', 'b: MI 1 (nats)']
    assert page.facts()['Peer b'] == 'ImageClassifier: ResNet (depth 18)'


def test_a_detector_is_in_shares_and_has_pictures(tmp_path, drawn):
    records = [evaluation(2, **{'coco/bbox_mAP': 0.5, 'exit1/coco/bbox_mAP': 0.4925})]
    model = MODEL | dict(taps=dict(modules=['backbone.stage3'], last='backbone.stage4'))
    folder = run_in(tmp_path / 'detector', records, model=model, default_scope='mmdet')
    page = page_of(folder, costs={}, pictures={'a.png': b'\x89PNG'})
    assert page.table('epoch') == [
        ['epoch', 'exit 1 (0 to 1)', 'full network (exit 2) (0 to 1)'],
        ['2', '0.492', '0.500'],
    ]
    assert 'The exit of lowest number whose box mAP' in page.text
    assert 'at least 0.490: 1 point below' in page.text
    assert 'Chosen exit: exit 1.' in page.text
    assert page.images[-1]['alt'].endswith('a.png')
    assert 'Early exit' not in page.titles


def test_of_a_loss_the_lowest_is_the_best_and_of_an_unknown_metric_no_exit_is_chosen(tmp_path):
    losses = [evaluation(epoch, feature_loss=2.5 / epoch) for epoch in (1, 2)]
    page = page_of(run_in(tmp_path / 'loss', losses), costs={})
    assert 'Best of each: full network: 1.250 in epoch 2.' in page.text
    assert '(0 to 1)' not in page.text
    metrics = {'coco_panoptic/PQ': 45.0, 'exit1/coco_panoptic/PQ': 44.2}
    folder = run_in(tmp_path / 'panoptic', [evaluation(2, **metrics)])
    assert report_of(folder, costs={}).chosen is None
    assert 'Chosen exit' not in page_of(folder, costs={}).text
    line = Line('baseline', 44.0)
    assert report_of(folder, costs={}, baseline=line).chosen_number == 1


@pytest.mark.parametrize('by_step', [True, False])
def test_a_run_that_was_started_again_is_not_finished_by_a_former_checkpoint(tmp_path, by_step):
    loop = dict(by_epoch=False, max_iters=48) if by_step else dict(max_epochs=3)
    steps = [training(step, loss=1.0) for step in (10, 20, 30, 40)]
    if by_step:
        steps = [{**step, 'iter': step['step']} for step in steps]
    else:
        steps = [{**step, 'epoch': 3} for step in steps]
    folder = run_in(tmp_path / 'run', steps, train_cfg=loop)
    (folder / ('iter_48.pth' if by_step else 'epoch_3.pth')).write_bytes(b'')
    assert read_run(folder).progress.is_finished  # The last steps were not logged.
    short = run_in(tmp_path / 'short', [], train_cfg=loop)  # Shorter than the interval of the log.
    (short / ('iter_48.pth' if by_step else 'epoch_3.pth')).write_bytes(b'')
    assert read_run(short).progress.is_finished
    run_in(folder, [{**steps[0], 'epoch': 1}], train_cfg=loop, name='2')
    assert not read_run(folder).progress.is_finished


def test_a_run_that_failed_shows_its_error(tmp_path):
    log = LOG + '2026/01/02 03:04:06 - mmengine - ERROR - loss_muse is nan in step 30\n'
    folder = run_in(tmp_path / 'failed', RECORDS[:3], log)
    page = page_of(folder)
    assert 'Failed: epoch 1 of 2 was logged.' in page.text
    assert 'Errors' in page.titles
    assert 'loss_muse is nan in step 30' in page.text


def test_the_place_in_the_code_is_no_part_of_an_error(tmp_path):
    start = '2026/01/02 03:04:06 - mmengine - ERROR - '
    folder = run_in(tmp_path / 'a', RECORDS[:3], f'{LOG}{start}/x/run.py - train - 12 - bad\n')
    assert read_run(folder).errors == ('bad',)
    folder = run_in(tmp_path / 'b', RECORDS[:3], f'{LOG}{start} - None - 0 - interrupted\n')
    assert read_run(folder).errors == ('interrupted',)
    assert 'Interrupted: epoch 1 of 2 was logged.' in page_of(folder, costs={}).text


def test_a_run_without_a_step_shows_the_end_of_its_log(tmp_path):
    folder = run_in(tmp_path / 'stopped', [])
    (folder / '1' / 'vis_data' / 'scalars.json').unlink()
    page = page_of(folder, costs={})
    assert 'Last lines of the log' in page.titles
    assert 'Accuracy: not measured' in page.text


def test_a_resumed_run_lists_its_starts_and_a_test_is_none_of_them(work_dir):
    later = [evaluation(2, **{'accuracy/top1': 62.0, 'exit1/top1': 60.0, 'exit3/top1': 62.0})]
    run_in(work_dir, later, LOG.replace('a.py', 'a.py --resume'), name='2')
    run_in(work_dir, [], name='3', model=dict(type='Other'))
    (work_dir / '3' / 'vis_data' / 'scalars.json').unlink()
    page = page_of(work_dir)
    assert 'Started 2 times.' in page.text
    assert page.facts()['2'].startswith('mmmuse train a.py --resume')
    assert page.facts()['Method'] == 'SelfDistiller'
    assert page.table('epoch')[-1] == ['2', '60.00', 'not measured', '62.00']


def test_early_exit_is_that_of_its_table(work_dir, tmp_path):
    path = tmp_path / 'early_exit.csv'
    rows = [
        dict(network='exit 1', top1=52.75, macs=1_500_000, milliseconds=0.5, shares=''),
        dict(network='exit 3', top1=61.0, macs=3_000_000, milliseconds=1.5, shares=''),
        dict(network='early exit', top1=60.0, macs=2e6, milliseconds=0.75, shares='0.6 0.4'),
    ]
    with path.open('w', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    page = page_of(work_dir, early_exit=read_early_exit(path))
    assert page.table('network')[1:] == [
        ['exit 1', '52.75', '1.50', '0.500', '-'],
        ['exit 3', '61.00', '3.00', '1.500', '-'],
        ['early exit', '60.00', '2.00', '0.750', '0.6 0.4'],
    ]


@pytest.mark.parametrize('content', ['', 'a,b\n1,2\n', 'network,top1,macs,milliseconds\nx,y,1,2\n'])
def test_another_table_is_no_early_exit(tmp_path, content):
    path = tmp_path / 'early_exit.csv'
    path.write_text(content)
    with pytest.raises(InputError, match='is not a table of mmmuse early-exit'):
        read_early_exit(path)


def test_the_baseline_is_the_last_evaluation_of_the_same_metric(work_dir, tmp_path):
    metrics = [{'accuracy/top1': 70.0}, {'accuracy/top1': 68.0}]
    records = [evaluation(i, **each) for i, each in enumerate(metrics, 1)]
    evaluations = read_run(work_dir).evaluations
    plain = read_run(run_in(tmp_path / 'plain', records))
    assert baseline_of(plain, evaluations) == Line('baseline', 68.0)
    other = read_run(run_in(tmp_path / 'other', [evaluation(1, **{'coco/bbox_mAP': 0.5})]))
    with pytest.raises(InputError, match='was not evaluated by accuracy/top1, but by coco'):
        baseline_of(other, evaluations)


def test_a_foreign_folder_is_named(tmp_path):
    with pytest.raises(InputError, match='is not the work dir of a run'):
        read_run(tmp_path)
    with pytest.raises(InputError, match='no work dir'):
        read_run(tmp_path / 'missing')


def test_infinite_and_undefined_accuracies_are_shown(tmp_path, drawn):
    folder = run_in(tmp_path / 'run', [])
    lines = [{'accuracy/top1': float(v), 'step': i} for i, v in ((1, 'nan'), (2, 'inf'))]
    (folder / '1' / 'vis_data' / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    assert page_of(folder, costs={}).table('epoch')[1:] == [['1', 'nan'], ['2', 'inf']]


def test_the_figure_numbers_the_exits_and_marks_the_chosen_one():
    points = [Point(2.0, 60.0, 2), Point(1.0, 50.0, 1)]
    figure = exit_figure({'cost': {'exits': points}}, 'A title', Line('baseline', 55.0), 2)
    (axis,) = figure.axes
    assert figure.get_suptitle() == 'A title'
    assert [(text.get_text(), text.xy) for text in axis.texts] == [
        ('1', (1.0, 50.0)),
        ('2', (2.0, 60.0)),
    ]
    lines = {line.get_label(): line for line in axis.lines}
    assert list(lines) == ['exits', 'chosen: exit 2', 'baseline']
    ring = lines['chosen: exit 2']
    assert (list(ring.get_xdata()), list(ring.get_ydata())) == ([2.0], [60.0])
    assert ring.get_fillstyle() == 'none'
