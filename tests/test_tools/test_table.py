import csv
import errno
import fcntl
import json
import os
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace

import pytest

from mmmuse.commands.table import (
    locked,
    note_older_than_source,
    take_records,
    train_command,
    waiting_runs,
)
from mmmuse.errors import InputError
from mmmuse.tables import Record, Row, Run, read_record
from mmmuse.tables.record import save_record

from ..test_jobs.fake_slurm import calls, fake_slurm
from ..test_jobs.fork_server import forked_training_command

DIGITS = {
    'train_dataloader.dataset.indices': 96,
    'val_dataloader.dataset.indices': 50,
    'train_dataloader.batch_size': 32,
}


def table(folder, rows, **more) -> str:
    path = folder / 'own.py'
    content = dict(title='Digits', rows=rows, **more)
    path.write_text('\n'.join(f'{key} = {value!r}' for key, value in content.items()))
    return str(path)


def digits(folder) -> str:
    rows = [
        dict(name='baseline', config='configs/demo/resnet18_digits.py', paper='99.0'),
        dict(name='MI x SI', config='configs/demo/resnet18_digits_mi_x_si.py'),
    ]
    return table(folder, rows, options=DIGITS)


@pytest.fixture
def _forked_trainings(monkeypatch) -> Iterator[None]:
    """Trainings without their start of Python, which the table of docs/compare.md has, and watched more often."""
    with forked_training_command() as command:
        monkeypatch.setattr('mmmuse.commands.table.train_command', lambda args: command)
        monkeypatch.setattr('mmmuse.jobs.local.LocalJobs.poll_seconds', 0.1)
        yield


@pytest.mark.usefixtures('_forked_trainings')
def test_a_table_is_run_written_and_not_run_twice(tool, tmp_path):
    arguments = [digits(tmp_path), '--seeds', 4, '--epochs', 1, '--device', 'cpu', 'cpu']
    arguments += ['--work-dir', tmp_path / 'runs']
    first = tool('benchmark/table.py', *arguments)
    assert first.code == 0, first.err
    assert '2 of 2 runs to do, on cpu, cpu' in first.err
    assert 'baseline, seed 4: done' in first.err
    records = [json.loads(path.read_text()) for path in (tmp_path / 'runs').rglob('record.json')]
    assert len(records) == 2
    assert all('randomness.seed=4' in record['command'] for record in records)
    rows = list(csv.DictReader((tmp_path / 'runs' / 'own_1e.csv').open()))
    assert [row['row'] for row in rows] == ['baseline', 'MI x SI']
    assert [row['epochs'] for row in rows] == ['1', '1']
    of_baseline = next(r for r in records if 'mi_x_si' not in r['command'])
    assert float(rows[0]['top1_last_mean']) == pytest.approx(of_baseline['epochs']['1']['top1'])
    assert rows[0]['top1_paper'] == '99.0'
    assert rows[1]['exit3_last_mean'] != ''
    assert rows[0]['exit3_last_mean'] == ''
    # Not a step is trained again, and rows that are not asked for stay in the table.
    again = tool('benchmark/table.py', *arguments, '--rows', 'MI x SI')
    assert again.code == 0
    assert 'runs to do' not in again.err
    markdown = (tmp_path / 'runs' / 'own_1e.md').read_text()
    assert '| MI x SI |' in markdown
    assert '| baseline |' in markdown


@pytest.mark.parametrize(
    ('rows', 'flags', 'message'),
    [
        (
            [dict(name='VID', config='configs/none.py')],
            [],
            "row 'VID': no config file configs/none.py",
        ),
        (None, ['--rows', 'MMD'], 'unknown row MMD; available: baseline, MI x SI'),
        (None, ['--device', 'cuda:9'], "unknown device 'cuda:9'; available: cpu"),
        (
            None,
            ['--device', *['cpu'] * 100_000],
            'cpu is given 100000 times and has ',
        ),
        (None, ['--partition', 'gpu'], '--partition needs --cluster slurm'),
        (None, ['--gpus-per-run', '1'], '--gpus-per-run needs --cluster slurm'),
        (None, ['--cancel-on-interrupt'], '--cancel-on-interrupt needs --cluster slurm'),
        (None, ['--epochs', '0'], '--epochs is at least 1, got 0'),
        (None, ['--seeds', '1', '1'], 'different seeds'),
    ],
)
def test_bad_input_is_one_line_and_runs_nothing(tool, only_error, tmp_path, rows, flags, message):
    path = digits(tmp_path) if rows is None else table(tmp_path, rows)
    finished = tool('benchmark/table.py', path, '--work-dir', tmp_path / 'runs', *flags)
    assert message in only_error(finished)
    assert not (tmp_path / 'runs').exists()


def test_a_table_that_is_not_there_is_named(tool, only_error):
    assert 'no table configs/tables/table8.py' in only_error(
        tool('benchmark/table.py', 'configs/tables/table8.py')
    )


@pytest.mark.usefixtures('_forked_trainings')
def test_the_epochs_of_a_failed_run_are_not_reported(tool, tmp_path):
    rows = [dict(name='small', config='configs/demo/resnet18_digits.py')]
    # Data without images.
    path = table(tmp_path, rows, options={**DIGITS, 'train_dataloader.dataset.indices': 0})
    finished = tool('benchmark/table.py', path, '--seeds', 0, '--work-dir', tmp_path / 'runs')
    assert finished.code == 1
    assert 'error: small, seed 0: the dataset has no images' in finished.err
    assert '| small |' in (tmp_path / 'runs' / 'own.md').read_text()


SLURM = ['--cluster', 'slurm']


@pytest.mark.parametrize(
    ('slurm', 'flags', 'message'),
    [
        ({}, ['--partition', 'gpu'], "no partition 'gpu' in Slurm; available: main, long"),
        (dict(without='sbatch'), [], 'sbatch not found'),
        (dict(sbatch='echo "sbatch: error: no GPU" >&2; exit 1'), [], 'sbatch: no GPU'),
        ({}, ['--device', 'cuda:0'], '--device needs --cluster local'),
        ({}, ['--time', '25:00:00'], "--time is 1500 minutes, and partition 'main' allows 60"),
    ],
)
def test_what_slurm_does_not_take_is_one_line_and_writes_nothing(
    tool, only_error, tmp_path, monkeypatch, slurm, flags, message
):
    monkeypatch.setenv('PATH', f'{fake_slurm(tmp_path / "bin", **slurm)}:/bin')
    if slurm.get('without'):
        monkeypatch.setenv('PATH', str(tmp_path / 'bin'))
    work_dir = ['--work-dir', tmp_path / 'runs']
    finished = tool('benchmark/table.py', digits(tmp_path), *work_dir, *SLURM, *flags)
    assert message in only_error(finished)
    assert not (tmp_path / 'runs').exists()


def test_a_submission_that_fails_leaves_no_job_and_no_file(tool, only_error, tmp_path, monkeypatch):
    """The check before it passed: what sbatch refuses may have changed since."""
    refused = (
        'case "$*" in *--test-only*) ;; *) echo "sbatch: error: too many jobs" >&2; exit 1;; esac'
    )
    path = fake_slurm(tmp_path / 'bin', sbatch=refused)
    monkeypatch.setenv('PATH', f'{path}:/bin')
    work_dir = ['--work-dir', tmp_path / 'runs']
    finished = tool('benchmark/table.py', digits(tmp_path), *work_dir, *SLURM)
    assert 'sbatch: too many jobs' in only_error(finished)
    assert len([call for call in calls(path) if call.startswith('sbatch')]) > 1
    assert [each.name for each in (tmp_path / 'runs').rglob('*')] == ['.lock']


@pytest.mark.parametrize('missing', ['scipy', 'submitit'])
def test_a_missing_package_is_one_line_with_the_command_that_installs_it(
    tool, only_error, tmp_path, monkeypatch, missing
):
    monkeypatch.setattr(
        'mmmuse.commands.table_flags.find_spec', lambda name: None if name == missing else True
    )
    finished = tool('benchmark/table.py', digits(tmp_path), '--work-dir', tmp_path / 'runs')
    line = only_error(finished)
    assert f'mmmuse table needs the package {missing}: pip install -e "' in line
    assert line.endswith('[cluster]"')
    # The table of finished runs starts no job.
    flags = ['--work-dir', tmp_path / 'runs', '--report']
    assert (tool('benchmark/table.py', digits(tmp_path), *flags).code == 0) == (
        missing == 'submitit'
    )


def test_slurm_is_asked_once_whether_it_takes_the_runs(tool, tmp_path, monkeypatch):
    path = fake_slurm(tmp_path / 'bin', sbatch='case "$*" in *--test-only*) ;; *) exit 1;; esac')
    monkeypatch.setenv('PATH', f'{path}:/bin')
    tool('benchmark/table.py', digits(tmp_path), '--work-dir', tmp_path / 'runs', *SLURM)
    assert len([call for call in calls(path) if '--test-only' in call]) == 1


def test_a_run_on_several_gpus_is_started_by_torchrun():
    args = Namespace(cluster='slurm', gpus_per_run=4)
    launched = [
        '--standalone',
        '--nproc_per_node=4',
        '-m',
        'mmmuse',
        'train',
        '--launcher',
        'pytorch',
    ]
    assert train_command(args)[1:] == ['-m', 'torch.distributed.run', *launched]
    for cluster, gpus in (('slurm', 1), ('slurm', 0), ('local', None)):
        args = Namespace(cluster=cluster, gpus_per_run=gpus)
        assert train_command(args)[1:] == ['-m', 'mmmuse', 'train']


def chain(folder, seed: int = 0) -> list[Run]:
    """A teacher that is trained once, a student of it, and a student of that one."""
    teacher = Run(Row('teacher', 't.py', seed=0), 0, folder / 't' / 'seed0', 2, {})
    first = Run(Row('first', 'a.py'), seed, folder / 'a' / f'seed{seed}', 2, {}, teacher.work_dir)
    second = Run(Row('second', 'b.py'), seed, folder / 'b' / f'seed{seed}', 2, {}, first.work_dir)
    return [teacher, first, second]


def finish(run: Run, checkpoint: bool = True) -> None:
    save_record(run, RECORD)
    if checkpoint:
        run.checkpoint.write_bytes(b'')


RECORD = Record({2: {'top1': 50.0}}, '', '', '')


def test_a_run_waits_for_what_it_goes_on_from(tmp_path):
    teacher, first, second = runs = chain(tmp_path)
    assert list(waiting_runs(runs, None).values()) == runs
    with pytest.raises(
        InputError, match=r'^second, seed 0 needs first, seed 0: add its row to --rows'
    ):
        waiting_runs(runs, ['second'])
    finish(first)
    assert list(waiting_runs(runs, ['second']).values()) == [second]
    finish(teacher)
    assert list(waiting_runs(runs, None).values()) == [second]
    # Without its checkpoint, a finished run is trained again if another one goes on from it.
    first.checkpoint.unlink()
    assert list(waiting_runs(runs, None).values()) == [first, second]
    teacher.checkpoint.unlink()
    assert list(waiting_runs(runs, None).values()) == runs
    finish(second)
    assert waiting_runs(runs, None) == {}


def test_what_was_trained_before_the_run_that_it_goes_on_from_is_named(tmp_path, capsys):
    runs = chain(tmp_path)
    for time, run in enumerate(runs):
        finish(run)
        os.utime(run.checkpoint, (time, time))
    note_older_than_source(runs)
    assert capsys.readouterr().err == ''
    os.utime(runs[0].checkpoint, (5, 5))
    note_older_than_source(runs)
    assert capsys.readouterr().err == (
        'kept, although what they went on from was trained again later: first, seed 0 '
        '(delete their folders to run them again)\n'
    )


def test_a_folder_that_cannot_be_locked_is_used_and_named(tmp_path, monkeypatch, capsys):
    def refuse(*args):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, 'flock', refuse)
    with locked(tmp_path):
        pass
    assert capsys.readouterr().err == (
        f'{tmp_path} cannot be locked (No locks available): run one command at a time in it\n'
    )


def test_records_of_another_machine_finish_all_but_what_is_still_needed(tmp_path):
    runs = [*chain(tmp_path), *chain(tmp_path, 1)[1:]]
    known = {run.work_dir: RECORD for run in runs[:3]}
    # The teacher of seed 1 is trained again: its checkpoint is not there.
    assert take_records(runs, known) == 2
    assert [read_record(run) is not None for run in runs] == [False, True, True, False, False]
    assert list(waiting_runs(runs, None).values()) == [runs[0], *runs[3:]]
    # A record of another metric is none of this run.
    assert take_records(runs, {run.work_dir: replace(RECORD, metric='mIoU') for run in runs}) == 0
    assert take_records(runs, {run.work_dir: RECORD for run in runs}) == 3
    assert waiting_runs(runs, None) == {}


def test_what_a_chain_goes_on_from_is_not_taken_either(tmp_path):
    teacher, first, _ = runs = chain(tmp_path)
    assert take_records(runs, {run.work_dir: RECORD for run in (teacher, first)}) == 0
    assert len(waiting_runs(runs, None)) == 3


def test_records_are_read_before_anything_is_written(tool, only_error, tmp_path):
    flags = ['--work-dir', tmp_path / 'runs', '--records', tmp_path / 'none.json']
    line = only_error(tool('benchmark/table.py', digits(tmp_path), *flags))
    assert line == f'error: no file of records {tmp_path / "none.json"}'
    assert not (tmp_path / 'runs').exists()
