"""Files of a run and of the user that another command leaves as they are."""

import errno
import os
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from .conftest import run_command
from .test_train import BASELINE, DISTILLED, SHORT

TESTED = 'test_dataloader.dataset.indices=20'


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> Path:
    """The work dir of one epoch with critics 16 wide."""
    work_dir = tmp_path_factory.mktemp('trained') / 'run'
    options = [*SHORT, 'train_cfg.max_epochs=1', 'model.head.discrepancy.critic.hidden_channels=16']
    flags = ['--work-dir', work_dir, '--cfg-options', *options]
    assert run_command('train.py', DISTILLED, *flags) == 0
    return work_dir


def run_test(tool, trained, *flags, options=()):
    files = (DISTILLED, trained / 'epoch_1.pth')
    return tool('test.py', *files, *flags, '--cfg-options', TESTED, *options)


def test_a_test_does_not_change_the_config_of_the_run(tool, trained):
    config = trained / Path(DISTILLED).name
    before = config.read_bytes()
    assert b'hidden_channels=16' in before
    assert run_test(tool, trained, '--work-dir', trained).code == 0
    assert config.read_bytes() == before
    latest = max(trained.glob('*/vis_data/config.py'))
    assert b'indices=20' in latest.read_bytes()


def test_a_test_in_a_folder_of_its_own_writes_its_config(tool, trained, tmp_path):
    assert run_test(tool, trained, '--work-dir', tmp_path / 'test').code == 0
    assert b'indices=20' in (tmp_path / 'test' / Path(DISTILLED).name).read_bytes()


def test_critics_of_another_width_do_not_matter_in_a_test(tool, trained, tmp_path):
    finished = run_test(tool, trained, '--work-dir', tmp_path)
    assert finished.code == 0
    printed = finished.out + finished.err
    assert 'size mismatch' not in printed
    assert 'The critics in the checkpoint are of another size; a test does not use' in printed


@pytest.mark.parametrize('options', [['hidden_channels=8'], ['architecture=dot']])
def test_critics_of_averages_do_not_matter_either(tool, tmp_path, options):
    config = tmp_path / 'averaged.py'
    config.write_text(
        f"_base_ = [{str(Path(DISTILLED).resolve())!r}]\ncustom_hooks = [dict(type='EMAHook')]\n"
    )
    critic = 'model.head.discrepancy.critic.'
    flags = ['--work-dir', tmp_path / 'run', '--cfg-options', *SHORT, 'train_cfg.max_epochs=1']
    assert run_command('train.py', config, *flags, f'{critic}hidden_channels=16') == 0
    flags = [tmp_path / 'run' / 'epoch_1.pth', '--work-dir', tmp_path / 'test', '--cfg-options']
    finished = tool('test.py', config, *flags, TESTED, *(critic + option for option in options))
    assert finished.code == 0, finished.err
    printed = finished.out + finished.err
    assert not any(said in printed for said in ('size mismatch', 'unexpected key', 'missing keys'))
    assert 'The critics in the checkpoint are of another size' in printed


def test_exits_of_another_size_are_refused_in_a_test(tool, only_error, trained, tmp_path):
    options = ['model.head.discrepancy.critic.hidden_channels=16', 'model.neck.reduction=2']
    line = only_error(run_test(tool, trained, '--work-dir', tmp_path, options=options))
    assert 'epoch_1.pth is of another neck or head; these tensors differ: adapters.' in line


@pytest.mark.slow
def test_a_config_is_kept_by_a_test_with_another_runner(tool, tmp_path):
    config = tmp_path / 'own.py'
    base = str(Path(BASELINE).resolve())
    config.write_text(f"_base_ = [{base!r}]  # Mine.\nrunner_type = 'FlexibleRunner'\n")
    before = config.read_bytes()
    network = Config.fromfile(BASELINE)
    init_default_scope('mmpretrain')
    weights = MODELS.build(network.model).state_dict()
    torch.save(dict(meta={}, state_dict=weights), tmp_path / 'plain.pth')
    tool('test.py', config, tmp_path / 'plain.pth', '--work-dir', tmp_path, '--cfg-options', TESTED)
    assert config.read_bytes() == before


@pytest.mark.parametrize('name', ['metrics.json', 'results.pkl'])
def test_an_output_of_a_test_is_not_overwritten(tool, only_error, trained, tmp_path, name):
    out = tmp_path / name
    out.write_text('mine')
    flags = ['--out', out] + ['--out-item', 'metrics'] * (out.suffix == '.json')
    assert f'{out} already exists' in only_error(run_test(tool, trained, *flags))
    assert out.read_text() == 'mine'


def test_metrics_of_a_test_are_written(tool, trained, tmp_path):
    out = tmp_path / 'metrics.yaml'
    flags = ['--work-dir', tmp_path / 'test', '--out', out, '--out-item', 'metrics']
    assert run_test(tool, trained, *flags).code == 0
    assert 'accuracy/top1: ' in out.read_text()


def test_a_picture_is_not_overwritten(tool, only_error, trained, tmp_path):
    out = tmp_path / 'picture.png'
    out.write_text('mine')
    line = only_error(tool('analysis/plot_information.py', trained, '--out', out))
    assert f'{out} already exists' in line
    assert out.read_text() == 'mine'


def test_the_report_in_the_work_dir_is_written_again(tool, trained):
    for _ in range(2):
        (trained / 'report.html').write_text('old')
        finished = tool('analysis/report.py', trained)
        assert finished.code == 0, finished.err
        assert (trained / 'report.html').read_text() != 'old'


def full(*args) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    'command',
    [
        ('export.py', DISTILLED, 'epoch_1.pth', '--exit', 1, '--out', 'exit1'),
        ('analysis/plot_information.py', '.', '--out', 'picture.png'),
        ('analysis/plot_information.py', '.', '--table', '--csv', 'table.csv'),
        ('analysis/complexity.py', DISTILLED, '--json', 'costs.json'),
    ],
    ids=['export', 'picture', 'csv', 'json'],
)
def test_a_full_disk_is_one_line_and_leaves_no_file(
    tool, only_error, trained, tmp_path, monkeypatch, command
):
    script, *arguments = command
    places = {'epoch_1.pth': trained / 'epoch_1.pth', '.': trained}
    output = arguments[-1]
    places[output] = tmp_path / output
    monkeypatch.setattr(os, 'fsync', full)
    line = only_error(tool(script, *(places.get(each, each) for each in arguments)))
    assert line.startswith(f'error: cannot write {places[output]}: No space left on device')
    assert list(tmp_path.iterdir()) == []
