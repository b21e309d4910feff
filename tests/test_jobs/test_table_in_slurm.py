"""A table in a real Slurm is the table of one machine."""

import csv
import json
import os
import subprocess
from pathlib import Path

import pytest

from mmmuse.jobs.slurm_queue import read_queue

from ..test_tools.conftest import run_command
from .fork_server import forked_training_command
from .stand_in import wait_for
from .test_slurm import when

OPTIONS = {
    'train_dataloader.dataset.indices': 96,
    'val_dataloader.dataset.indices': 50,
    'train_dataloader.batch_size': 32,
}
ROWS = [
    dict(name='plain', config='configs/demo/resnet18_digits.py'),
    dict(name='MI x SI', config='configs/demo/resnet18_digits_mi_x_si.py'),
]


def table_of(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a table, without the folder in the command of a run, and the commit."""
    with next(folder.glob('*.csv')).open() as file:
        rows = list(csv.DictReader(file))
    return [
        {key: text.replace(str(folder), '') for key, text in row.items() if key != 'commit'}
        for row in rows
    ]


def logged(log: Path, key: str) -> list[int]:
    """Return the steps or epochs at which a start of a run has logged something."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line['step'] for line in lines if key in line]


@pytest.mark.usefixtures('slurm')
def test_a_table_with_a_cancelled_and_resumed_run_is_that_of_one_machine(
    tmp_path, monkeypatch, capfd
):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: {0, 1})  # One thread a run.
    path = tmp_path / 'own.py'
    path.write_text(f'title = "Digits"\nrows = {ROWS!r}\noptions = {OPTIONS!r}\n')
    here, in_slurm = tmp_path / 'here', tmp_path / 'slurm'
    flags = [path, '--seeds', 0, 1, '--epochs', 4, '--work-dir']
    slurm = [in_slurm, '--cluster', 'slurm', '--gpus-per-run', 0, '--cpus-per-run', 1]

    def logs() -> list[Path]:
        return sorted(in_slurm.glob('demo/resnet18_digits_mi_x_si-*/seed0/*/vis_data/scalars.json'))

    def cancel() -> None:
        # The order of the runs is that of the seeds, then of the rows.
        (job,) = (entry for entry in read_queue() if entry.index == 1 and entry.is_left)
        subprocess.run(['scancel', job.number], check=True)

    with forked_training_command() as command, monkeypatch.context() as patch:
        patch.setattr('mmmuse.commands.table.train_command', lambda args: command)
        assert run_command('benchmark/table.py', *flags, here, '--device', 'cpu', 'cpu') == 0
        thread = when(lambda: any(logged(log, 'accuracy/top1') for log in logs()), cancel, 600)
        assert run_command('benchmark/table.py', *flags, *slurm) == 1
        thread.join()
    assert 'error: MI x SI, seed 0: ended by SIGTERM' in capfd.readouterr().err
    assert [row['seeds'] for row in table_of(in_slurm)] == ['2', '1']

    # The resumed run is a start of Python, as all are outside of a test.
    assert run_command('benchmark/table.py', *flags, *slurm) == 0
    assert '1 of 4 runs to do, in Slurm' in capfd.readouterr().err
    first, second = (logged(log, 'loss') for log in logs())
    assert first[0] == 3  # Of 96 images in batches of 32.
    assert second == list(range(first[-1] + 3, 13, 3))  # It went on where it was stopped.
    assert table_of(in_slurm) == table_of(here)
    wait_for(lambda: not any(entry.is_left for entry in read_queue()))
