"""Export, complexity, the choice of an exit and early exit, on a network trained on the digits."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.utils import digit_version

from mmmuse.command_line.report import threads
from mmmuse.export.exit_table import exit_costs

from .conftest import run_command
from .test_train import DISTILLED, SHORT

pytestmark = pytest.mark.usefixtures('onnx_operators_collected_once')

BASELINE = 'configs/demo/resnet18_digits.py'
HAS_TORCH_EXPORT = digit_version(torch.__version__) >= digit_version('2.3')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory) -> Path:
    work_dir = tmp_path_factory.mktemp('trained') / 'run'
    options = [*SHORT, 'train_cfg.max_epochs=1', 'train_dataloader.dataset.indices=640']
    options.append('train_dataloader.batch_size=64')
    flags = ['--work-dir', work_dir, '--cfg-options', *options]
    assert run_command('train.py', DISTILLED, *flags) == 0
    return work_dir / 'epoch_1.pth'


@pytest.fixture(scope='module')
def metrics(checkpoint) -> dict:
    """The accuracy of network and exits on the full test set, from test.py."""
    out = checkpoint.parent / 'metrics.json'
    flags = ['--work-dir', checkpoint.parent / 'test', '--out', out, '--out-item', 'metrics']
    assert run_command('test.py', DISTILLED, checkpoint, *flags) == 0
    return json.loads(out.read_text())


def test_an_export_is_measured_beside_the_original(tool, checkpoint, metrics, tmp_path):
    pytest.importorskip('onnxruntime')
    out = tmp_path / 'exit3'
    programs = ['torch.export'] if HAS_TORCH_EXPORT else []
    forms = ['--onnx', '--int8', '--calibration-images', 100]
    forms += ['--torch-export'] if HAS_TORCH_EXPORT else []
    finished = tool('export.py', DISTILLED, checkpoint, '--exit', 3, '--out', out, *forms, '--data')
    assert finished.code == 0, finished.err
    report = json.loads((out / 'report.json').read_text())['forms']
    assert list(report) == ['original', 'mmpretrain', *programs, 'ONNX', 'ONNX int8']
    assert report['original']['top1'] == pytest.approx(metrics['accuracy/top1'])
    for form in ('mmpretrain', *programs, 'ONNX'):
        assert report[form]['top1'] == pytest.approx(metrics['exit3/top1'])
        assert report[form]['difference'] < 1e-4
    assert abs(report['ONNX int8']['top1'] - metrics['exit3/top1']) < 5
    assert report['ONNX int8']['bytes'] < report['ONNX']['bytes'] / 2
    assert report['mmpretrain']['params'] < report['original']['params']
    assert report['mmpretrain']['macs'] < report['original']['macs']
    assert all(row['milliseconds'] > 0 for row in report.values())
    for name in report:
        assert name in finished.out
    assert 'NMS' not in finished.out


def test_mmpretrain_tests_and_trains_an_export_without_mmmuse(tool, checkpoint, metrics, tmp_path):
    out = tmp_path / 'exit2'
    assert tool('export.py', DISTILLED, checkpoint, '--exit', 2, '--out', out).code == 0
    script = f"""
import sys
sys.modules['mmmuse'] = None
sys.modules['mmdet'] = None  # Its import takes long, and mmpretrain does without.
from mmengine.config import Config
from mmengine.runner import Runner
config = Config.fromfile({str(out / 'config.py')!r})
config.work_dir = {str(tmp_path / 'alone')!r}
config.train_cfg.max_epochs = 1
config.train_dataloader.dataset.indices = 128
Config.pretty_text = ''  # Laying it out for the log takes as long as the training.
print('tested', Runner.from_cfg(config).test()['accuracy/top1'])
config.experiment_name = 'training'
Runner.from_cfg(config).train()
"""
    alone = subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, check=False
    )
    assert alone.returncode == 0, alone.stderr
    tested = float(re.search(r'^tested (.*)$', alone.stdout, re.MULTILINE)[1])
    assert tested == pytest.approx(metrics['exit2/top1'])
    weights = torch.load(tmp_path / 'alone' / 'epoch_1.pth', weights_only=False)['state_dict']
    exported = torch.load(out / 'checkpoint.pth')['state_dict']
    assert weights.keys() == exported.keys()
    assert not torch.equal(weights['head.fc.weight'], exported['head.fc.weight'])


def test_the_last_exit_is_the_whole_network(tool, checkpoint, tmp_path):
    out = tmp_path / 'exit4'
    assert tool('export.py', DISTILLED, checkpoint, '--exit', 4, '--out', out).code == 0
    weights = torch.load(out / 'checkpoint.pth')['state_dict']
    trained = torch.load(checkpoint, weights_only=False)['state_dict']
    assert weights.keys() == trained.keys()
    assert all(torch.equal(weights[name], trained[name]) for name in weights)


def test_one_image_is_enough_to_calibrate_and_a_path_may_hold_a_quote(tool, checkpoint, tmp_path):
    pytest.importorskip('onnxruntime')
    out = tmp_path / "it's"
    flags = ['--int8', '--calibration-images', 1]
    finished = tool('export.py', DISTILLED, checkpoint, '--exit', 1, '--out', out, *flags)
    assert finished.code == 0, finished.err
    assert (out / 'network_int8.onnx').exists()


def test_a_config_that_a_run_has_dumped_is_read(tool, checkpoint, tmp_path):
    dumped = checkpoint.parent / Path(DISTILLED).name
    finished = tool('export.py', dumped, checkpoint, '--exit', 1, '--out', tmp_path / 'exit1')
    assert finished.code == 0, finished.err


def test_exports_that_cannot_be_made_leave_nothing(tool, only_error, checkpoint, tmp_path):
    out = tmp_path / 'out'
    before = sorted(tmp_path.iterdir())

    def refused(*args) -> str:
        line = only_error(tool('export.py', *args))
        assert sorted(tmp_path.iterdir()) == before
        return line

    assert 'unknown exit 5; available: 1, 2, 3, and 4, the full network' in refused(
        DISTILLED, checkpoint, '--exit', 5, '--out', out
    )
    assert 'of another network; these tensors differ: backbone.' in refused(
        *('configs/muse/resnet18_cifar100_mi_x_si.py', checkpoint, '--exit', 3, '--out', out)
    )
    assert 'the config has no exits' in refused(BASELINE, checkpoint, '--exit', 3, '--out', out)
    assert 'no checkpoint file' in refused(
        DISTILLED, tmp_path / 'none.pth', '--exit', 3, '--out', out
    )
    assert f'{checkpoint.parent} already exists' in refused(
        DISTILLED, checkpoint, '--exit', 3, '--out', checkpoint.parent
    )
    assert 'no folder' in refused(
        DISTILLED, checkpoint, '--exit', 3, '--out', tmp_path / 'nowhere' / 'out'
    )
    assert 'with --exit or --peer' in refused(DISTILLED, checkpoint, '--out', out)
    assert '--nms is not supported for a classifier' in refused(
        DISTILLED, checkpoint, '--exit', 3, '--nms', '--out', out
    )


def test_an_export_that_differs_is_not_kept(tool, only_error, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr('mmmuse.export.classifier_target.TOLERANCE', -1.0)
    before = sorted(tmp_path.iterdir())
    out = tmp_path / 'out'
    line = only_error(tool('export.py', DISTILLED, checkpoint, '--exit', 3, '--out', out))
    assert 'verification failed; the export was discarded' in line
    assert sorted(tmp_path.iterdir()) == before


def test_calibration_without_data_says_what_is_missing(tool, only_error, checkpoint, tmp_path):
    options = [
        'train_dataloader.dataset.type=mmmuse.BatchedCIFAR100',
        f'train_dataloader.dataset.data_root={tmp_path}/nowhere',
        'train_dataloader.dataset.download=False',
    ]
    out = tmp_path / 'out'
    args = [DISTILLED, checkpoint, '--exit', 3, '--out', out, '--int8', '--cfg-options', *options]
    assert f'CIFAR100 is not in {tmp_path}/nowhere' in only_error(tool('export.py', *args))
    assert not out.exists()


def test_complexity_has_a_row_for_each_exit(tool, tmp_path):
    path = tmp_path / 'complexity.json'
    config = 'configs/muse/resnet18_cifar100_mi_x_si.py'
    finished = tool('analysis/complexity.py', config, '--json', path)
    assert finished.code == 0, finished.err
    figures = json.loads(path.read_text())
    assert figures['input_shape'] == [3, 32, 32]
    rows = figures['exits']
    assert [row['exit'] for row in rows] == [1, 2, 3, 4]
    assert rows[3]['params'] == 11_220_132
    assert rows[3]['params_share'] == rows[3]['macs_share'] == 1
    assert round(rows[2]['paper_params'] / 1e6, 2) == 2.77
    assert round(rows[2]['paper_flops'] / 1e6) == 248
    assert 'backbone.layer3' in finished.out


def test_images_that_the_network_does_not_take_are_refused_by_the_flag(
    tool, only_error, checkpoint, tmp_path
):
    out = tmp_path / 'out'
    exported = ['export.py', DISTILLED, checkpoint, '--exit', 1, '--onnx', '--out', out]
    for args in (exported, ['analysis/complexity.py', DISTILLED]):
        line = only_error(tool(*args, '--input-shape', 3, 8, 8))
        assert 'the network does not take images of shape (3, 8, 8)' in line
        assert line.endswith('; pass another --input-shape')
    assert not out.exists()


def test_a_size_that_is_not_in_the_config_is_asked_for(tool, only_error):
    options = ['--cfg-options', 'test_dataloader.dataset.type=CustomDataset']
    line = only_error(tool('analysis/complexity.py', DISTILLED, *options))
    assert 'the size of the images is not in the config; pass --input-shape C H W' in line


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['analysis/choose_exit.py', '--max-loss', 1], 'the exits of a multi-label classifier'),
        (['analysis/early_exit.py'], 'the exits of a multi-label classifier'),
        (['export.py', '--exit', 1, '--data'], '--data measures top-1 accuracy'),
    ],
    ids=['exits', 'early-exit', 'export'],
)
def test_top_1_accuracy_of_several_labels_is_refused(
    tool, only_error, checkpoint, tmp_path, args, message
):
    script, *flags = args
    labels = ['--cfg-options', 'model.student.head.type=MultiLabelLinearClsHead']
    out = tmp_path / 'out'
    line = only_error(tool(script, DISTILLED, checkpoint, *flags, '--out', out, *labels))
    assert message in line
    assert not out.exists()


def test_an_exit_of_several_labels_is_exported_without_data(tool, checkpoint, tmp_path):
    labels = ['--cfg-options', 'model.student.head.type=MultiLabelLinearClsHead']
    out = tmp_path / 'out'
    args = ['export.py', DISTILLED, checkpoint, '--exit', 1, '--out', out, *labels]
    finished = tool(*args)
    assert finished.code == 0, finished.err
    assert 'MultiLabelLinearClsHead' in (out / 'config.py').read_text()


def rows_of(path: Path) -> list[dict]:
    with path.open(newline='') as file:
        return list(csv.DictReader(file))


def test_the_smallest_exit_that_is_good_enough_is_chosen(
    tool, checkpoint, metrics, tmp_path, monkeypatch
):
    known = []

    def counted_once(*args):
        known.extend(exit_costs(*args) if not known else ())
        return known

    monkeypatch.setattr('mmmuse.commands.exits.exit_costs', counted_once)

    def choose(name: str, *rule: object) -> str:
        out = tmp_path / name
        finished = tool('analysis/choose_exit.py', DISTILLED, checkpoint, *rule, '--out', out)
        assert finished.code == 0, finished.err
        assert (out / 'exits.png').stat().st_size > 1000
        return finished.out

    assert 'exit 1 is the smallest that reaches' in choose('any', '--baseline', 0)
    assert 'no exit reaches 100.00 %' in choose('none', '--baseline', 100)
    assert 'exit 1 is the smallest' in choose('loss', '--max-loss', 100)
    rows = rows_of(tmp_path / 'any' / 'exits.csv')
    for i, row in enumerate(rows, 1):
        assert float(row['top1']) == pytest.approx(metrics[f'exit{i}/top1'], abs=1e-3)
    best = max(float(row['top1']) for row in rows)
    first = next(row['exit'] for row in rows if float(row['top1']) >= best - 1e-3)
    assert f'exit {first} is the smallest' in choose('best', '--baseline', best - 1e-3)


def test_early_exit_draws_accuracy_against_cost(tool, checkpoint, tmp_path):
    out = tmp_path / 'early'
    flags = ['--latency-images', 8, '--costs', 0.7, 0.9]
    finished = tool('analysis/early_exit.py', DISTILLED, checkpoint, '--out', out, *flags)
    assert finished.code == 0, finished.err
    rows = rows_of(out / 'early_exit.csv')
    fixed, early = rows[:4], rows[4:]
    full = float(fixed[3]['macs'])
    assert [row['network'] for row in early] == ['early exit'] * 2
    for row, share in zip(early, (0.7, 0.9)):
        # Chosen on 225 images, measured on 225 others.
        assert float(row['macs']) / full == pytest.approx(share, abs=0.08)
        assert float(row['milliseconds']) > 0
    assert (out / 'early_exit.png').stat().st_size > 1000
    thresholds = '[' + ','.join(early[0]['thresholds'].split()) + ']'
    options = ['model.type=mmmuse.EarlyExitClassifier', f'model.thresholds={thresholds}']
    tested = tool('test.py', DISTILLED, checkpoint, '--cfg-options', *options)
    assert tested.code == 0, tested.err
    assert 'accuracy/top1' in tested.out


@pytest.mark.parametrize('script', ['choose_exit', 'early_exit'])
def test_folders_and_exits_are_checked_before_anything_is_read(tool, only_error, tmp_path, script):
    rule = ['--baseline', 1] if script == 'choose_exit' else ['--exits', 7]
    args = [f'analysis/{script}.py', DISTILLED, 'none.pth', *rule]
    assert 'already exists' in only_error(tool(*args, '--out', tmp_path))
    assert 'no folder' in only_error(tool(*args, '--out', tmp_path / 'a' / 'b'))
    assert 'no checkpoint file none.pth' in only_error(tool(*args, '--out', tmp_path / 'a'))


@pytest.mark.parametrize('number', ['nan', '-5'])
@pytest.mark.parametrize('flag', ['--max-loss', '--baseline'])
def test_a_rule_that_is_no_number_from_0_is_refused(tool, only_error, tmp_path, flag, number):
    flags = [f'{flag}={number}', '--out', tmp_path / 'out']
    line = only_error(tool('analysis/choose_exit.py', DISTILLED, __file__, *flags))
    assert line.startswith(f'error: {flag} is at least 0, got {number}')


@pytest.mark.parametrize(('number', 'said'), [(1, '1 thread'), (2, '2 threads')])
def test_the_number_of_threads_is_in_words(monkeypatch, number, said):
    monkeypatch.setattr(torch, 'get_num_threads', lambda: number)
    assert threads() == said


def test_a_baseline_above_100_percent_is_refused(tool, only_error, tmp_path):
    flags = ['--baseline', 150, '--out', tmp_path / 'out']
    line = only_error(tool('analysis/choose_exit.py', DISTILLED, __file__, *flags))
    assert line == 'error: --baseline is an accuracy in percent, at most 100, got 150.0'


def test_an_early_exit_that_is_not_there_is_refused(tool, only_error, checkpoint, tmp_path):
    args = [DISTILLED, checkpoint, '--exits', 7, '--out', tmp_path / 'early']
    assert 'unknown exit 7' in only_error(tool('analysis/early_exit.py', *args))
    args = [DISTILLED, checkpoint, '--exits', 4, '--out', tmp_path / 'early']
    assert 'exit 4 is the full network' in only_error(tool('analysis/early_exit.py', *args))
    args = [DISTILLED, checkpoint, '--costs', 0.01, '--out', tmp_path / 'early']
    assert 'is not possible' in only_error(tool('analysis/early_exit.py', *args))
    assert not (tmp_path / 'early').exists()
