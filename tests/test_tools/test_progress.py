"""Commands show what takes long on stderr, and nothing of it on stdout."""

import csv
import json
import re
from pathlib import Path

import pytest

from .conftest import run_command
from .test_train import DISTILLED, SHORT

pytestmark = pytest.mark.usefixtures('onnx_operators_collected_once')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory) -> Path:
    work_dir = tmp_path_factory.mktemp('trained') / 'run'
    flags = ['--work-dir', work_dir, '--cfg-options', *SHORT, 'train_cfg.max_epochs=1']
    assert run_command('train.py', DISTILLED, *flags) == 0
    return work_dir / 'epoch_1.pth'


def check_shown(finished, stages: list[str]) -> None:
    assert finished.code == 0, finished.err
    for stage in stages:
        assert f'{stage}: ' in finished.err
        assert f'{stage}: ' not in finished.out


def test_complexity_shows_its_work_and_explains_both_counts(tool, lines_of_progress):
    finished = tool('analysis/complexity.py', DISTILLED)
    check_shown(finished, ['building the network and counting multiply-adds'])
    assert 'params and MACs: of the exit as a plain network' in finished.out
    assert "paper's params and FLOPs: as table 3 of the paper counts" in finished.out


@pytest.mark.parametrize(
    ('by', 'said'),
    [
        ('macs', r'by multiply-adds: \d\.\d\d M'),
        ('latency', r'by latency: \d+\.\d\d ms'),
        ('params', r'by parameters: 0\.\d\d M'),
    ],
)
def test_exits_show_their_work_and_say_what_smallest_means(
    tool, lines_of_progress, checkpoint, tmp_path, by, said
):
    flags = ['--baseline', 0, '--by', by, '--out', tmp_path / 'out']
    finished = tool('analysis/choose_exit.py', DISTILLED, checkpoint, *flags)
    check_shown(finished, ['evaluating the exits', 'counting multiply-adds', 'timing the exits'])
    with (tmp_path / 'out' / 'exits.csv').open(newline='', encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
    column = {'macs': 'macs', 'latency': 'milliseconds', 'params': 'params'}[by]
    smallest = min(rows, key=lambda row: float(row[column]))['exit']
    assert re.search(rf'exit {smallest} is the smallest that reaches 0\.00 %, {said}', finished.out)
    if by != 'params':  # Exit 2 has fewer parameters than exit 1, and more multiply-adds.
        assert 'exit 2 by parameters (--by params)' in finished.out


def test_early_exit_shows_its_work_and_prints_what_can_be_pasted(
    tool, lines_of_progress, checkpoint, tmp_path
):
    flags = ['--latency-images', 8, '--costs', 0.8, '--out', tmp_path / 'out']
    finished = tool('analysis/early_exit.py', DISTILLED, checkpoint, *flags)
    check_shown(finished, ['evaluating the exits', 'counting multiply-adds', 'timing'])
    (line,) = re.findall(r'M: (model\.type=\S+) "(\S+)"$', finished.out, re.MULTILINE)
    with (tmp_path / 'out' / 'early_exit.csv').open(newline='', encoding='utf-8') as file:
        *_, early = csv.DictReader(file)
    assert line[1] == f'model.thresholds=[{early["thresholds"].replace(" ", ",")}]'

    out = tmp_path / 'metrics.json'
    flags = ['--work-dir', tmp_path / 'test', '--out', out, '--out-item', 'metrics']
    tested = tool('test.py', DISTILLED, checkpoint, *flags, '--cfg-options', *line)
    assert tested.code == 0, tested.err
    metrics = json.loads(out.read_text(encoding='utf-8'))
    shares = [metrics[f'exit{i}/share'] for i in range(1, 5)]
    assert sum(shares) == pytest.approx(100)
    # Of all 450 images; the file has the figures of the half that the thresholds were not chosen on.
    assert metrics['average_macs'] == pytest.approx(float(early['macs']), rel=0.1)
    assert shares == pytest.approx([100 * float(x) for x in early['shares'].split()], abs=10)
    assert f'images that take each exit: exit 1 {shares[0]:.1f} %, exit 2' in tested.out
    assert f'on average {metrics["average_macs"] / 1e6:.2f} M multiply-adds' in tested.out


def test_export_shows_its_work(tool, lines_of_progress, checkpoint, tmp_path):
    finished = tool('export.py', DISTILLED, checkpoint, '--exit', 2, '--out', tmp_path / 'out')
    check_shown(finished, ['building the network', 'comparing the forms', 'timing the forms'])


def test_int8_is_judged_by_its_accuracy(tool, only_error, checkpoint, tmp_path):
    pytest.importorskip('onnxruntime')
    export = ['export.py', DISTILLED, checkpoint, '--exit', 1, '--int8', '--calibration-images', 64]
    finished = tool(*export, '--out', tmp_path / 'out')
    assert finished.code == 0, finished.err
    judged = (
        r'ONNX int8 is judged by its accuracy, not by its logits, which differ by \S+: the same '
    )
    assert re.search(judged + r'class as in float32 for \d+\.\d % of the 64 images', finished.out)
    said = only_error(tool(*export, '--data', '--max-int8-loss', -100, '--out', tmp_path / 'bad'))
    assert 'verification of int8 failed; the export was discarded: top-1' in said
    assert not (tmp_path / 'bad').exists()
