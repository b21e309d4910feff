"""``mmmuse report`` on runs of the tools, and on folders that are none."""

import shutil

import pytest

from ..test_analysis.logs import evaluation, training, write_records
from ..test_analysis.pages import Page

SCRIPT = 'analysis/report.py'
DEMO = 'configs/demo/resnet18_digits_mi_x_si.py'


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """Work dirs of one epoch of the demo, distilled, and of a run that failed after one step."""
    from .conftest import run_command

    folder = tmp_path_factory.mktemp('runs')
    options = ['--cfg-options', 'train_cfg.max_epochs=1', 'train_dataloader.dataset.indices=128']
    options += ['val_dataloader.dataset.indices=50', 'model.student.backbone.base_channels=4']
    options += ['model.student.backbone.stem_channels=4', 'model.student.head.in_channels=32']
    assert run_command('train.py', DEMO, '--work-dir', folder / 'run', *options) == 0
    return folder / 'run'


def test_a_report_of_a_run_has_its_costs_and_its_command(tool, finished, tmp_path):
    out = tmp_path / 'page.html'
    done = tool(SCRIPT, finished, '--out', out)
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == f'written to {out}'
    page = Page(out.read_text())
    rows = page.table('exit')
    assert [row[0] for row in rows[1:]] == ['1', '2', '3', '4 (full)']
    assert [row[1] for row in rows[1:]] == [f'backbone.layer{i}' for i in (1, 2, 3, 4)]
    assert rows[-1][-1] == '100.0'
    costs = [float(row[4]) for row in rows[1:]]
    assert sorted(costs) == costs
    assert costs[0] > 0
    assert any('train.py' in text and DEMO in text for text in page.facts().values())
    assert 'Finished: epoch 1 of 1.' in page.text
    assert all(url.startswith('data:') for url in page.urls)


def test_an_existing_file_is_kept(tool, only_error, finished, tmp_path):
    out = tmp_path / 'page.html'
    out.write_text('mine')
    assert 'already exists' in only_error(tool(SCRIPT, finished, '--out', out))
    assert out.read_text() == 'mine'


def test_a_model_that_cannot_be_built_leaves_out_the_cost_only(tool, tmp_path):
    metrics = {'accuracy/top1': 50.0, 'exit1/top1': 40.0, 'exit2/top1': 50.0}
    work_dir = write_records(
        tmp_path / 'run', '1', [training(1, loss=1.0), evaluation(1, **metrics)]
    )
    marker = tmp_path / 'marker'
    for kind in ('os.system', 'mmengine.config.config.os.system', 'this', 'mmpretrain.Missing'):
        config = f"model = dict(type='mmmuse.SelfDistiller', head=dict(type='x'), student=dict(type={kind!r}, command='touch {marker}'))"
        (work_dir / '1' / 'vis_data' / 'config.py').write_text(config)
        out = tmp_path / f'{kind}.html'
        done = tool(SCRIPT, work_dir, '--out', out)
        assert done.code == 0, done.err
        page = Page(out.read_text())
        assert 'The cost was not measured' in page.text
        assert page.table('exit')[1][:4] == ['1', 'not measured', '40.00', 'not measured']
        assert not marker.exists()


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--out', 'nowhere/page.html'], 'no folder'),
        (['--pictures', 0], '--pictures is at least 1'),
        (['--pictures', 1], '--pictures needs the run of a detector'),
        (['--checkpoint', __file__], 'add --pictures'),
        (['--max-loss', -1], '--max-loss is at least 0'),
        (['--max-loss', 'nan'], '--max-loss is at least 0, got nan'),
        (['--score', 2, '--pictures', 1], '--score is between 0 and 1'),
        (['--baseline-dir', 'nowhere'], 'no work dir nowhere'),
        (['--early-exit', 'nowhere'], 'no table of early exit nowhere'),
        (['--detections', 'nowhere'], 'no folder nowhere of mmmuse detections'),
    ],
)
def test_bad_flags_are_one_line_and_nothing_is_written(tool, only_error, tmp_path, flags, message):
    records = [training(1, loss=1.0), evaluation(1, **{'accuracy/top1': 50.0})]
    work_dir = write_records(tmp_path / 'run', '1', records)
    assert message in only_error(tool(SCRIPT, work_dir, *flags))
    assert list(tmp_path.rglob('*.html')) == []


def test_a_folder_that_is_no_run_is_one_line(tool, only_error, finished, tmp_path):
    assert 'is not the work dir of a run' in only_error(tool(SCRIPT, tmp_path))
    assert 'no work dir' in only_error(tool(SCRIPT, tmp_path / 'missing'))
    assert 'no work dir' in only_error(tool(SCRIPT, DEMO))
    damaged = shutil.copytree(finished, tmp_path / 'damaged')
    (config,) = damaged.glob('*/vis_data/config.py')
    config.write_text('import os\n')
    assert 'is not a dumped config' in only_error(tool(SCRIPT, damaged))
    assert not (damaged / 'report.html').exists()


def test_an_error_of_a_run_is_in_its_log_and_in_its_report(tool, only_error, tmp_path):
    options = ['--cfg-options', 'train_dataloader.dataset.indices=128', 'train_cfg.max_epochs=3']
    options += ['val_dataloader.dataset.indices=50', 'optim_wrapper.optimizer.lr=1e30']
    options += ['default_hooks.checkpoint.interval=5']
    failed = tool(
        'train.py',
        'configs/demo/resnet18_digits_mi_x_si.py',
        '--work-dir',
        tmp_path / 'run',
        *options,
    )
    error = only_error(failed).removeprefix('error: ')
    out = tmp_path / 'page.html'
    done = tool(SCRIPT, tmp_path / 'run', '--out', out)
    assert done.code == 0, done.err
    page = Page(out.read_text())
    assert 'Errors' in page.titles
    assert error in page.text
