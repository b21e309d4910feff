"""Nothing runs on unseen, whatever ends the command, and a second start goes on."""

import os
import signal
import socket

import pytest

from mmmuse.errors import InputError
from mmmuse.jobs.local import LocalJobs
from mmmuse.jobs.run_lock import note_holder, run_lock
from mmmuse.jobs.training import Training
from mmmuse.tables import run_all

from .stand_in import (
    Table,
    is_alive,
    job_of,
    let_them_end,
    runs_of,
    stand_in,
    starts,
    wait_for,
)


def jobs_of(runs) -> list[int]:
    return [job_of(starts(run)[-1]) for run in runs]


@pytest.mark.parametrize('name', ['SIGINT', 'SIGHUP'])
def test_a_signal_of_the_terminal_reaches_each_run_once(tmp_path, name):
    """Ctrl-C, or a closed terminal: all processes of its group receive it."""
    runs = runs_of(tmp_path, 'slow', 'slow')
    table = Table(tmp_path, 'slow', 'slow')
    wait_for(lambda: all(map(starts, runs)))
    processes = [starts(run)[0] for run in runs] + jobs_of(runs)
    os.killpg(table.pid, getattr(signal, name))
    assert table.last_line() == 'KeyboardInterrupt'
    assert [(run.work_dir / 'interrupted').read_text() for run in runs] == ['2', '2']
    assert not any(map(is_alive, processes))


def test_after_a_killed_scheduler_a_second_start_watches_what_runs_and_goes_on(tmp_path):
    runs = runs_of(tmp_path, 'waits', 'waits', 'good')
    table = Table(tmp_path, 'waits', 'waits', 'good')
    wait_for(lambda: all(map(starts, runs[:2])))
    table.kill()
    again = Table(tmp_path, 'waits', 'waits', 'good')
    again.prints('still running from an earlier start: 2')
    let_them_end(runs)
    assert again.last_line() == '{}'
    assert [len(starts(run)) for run in runs] == [1, 1, 1]
    assert all((run.work_dir / 'finished').exists() for run in runs)


def test_what_a_killed_scheduler_left_is_interrupted_by_the_second(tmp_path):
    runs = runs_of(tmp_path, 'slow')
    table = Table(tmp_path, 'slow')
    wait_for(lambda: all(map(starts, runs)))
    table.kill()
    again = Table(tmp_path, 'slow')
    again.prints('still running from an earlier start: 1')
    os.kill(again.pid, signal.SIGTERM)
    assert again.last_line() == 'KeyboardInterrupt'
    assert (run := runs[0]).work_dir.joinpath('interrupted').read_text() == '2'
    assert len(starts(run)) == 1
    assert not is_alive(starts(run)[0])


def test_a_run_that_ended_while_nobody_watched_is_finished_and_not_trained_again(tmp_path):
    runs, done = runs_of(tmp_path, 'waits'), []
    table = Table(tmp_path, 'waits')
    wait_for(lambda: all(map(starts, runs)))
    job = job_of(starts(runs[0])[0])
    table.kill()
    let_them_end(runs)
    wait_for(lambda: not is_alive(job))
    assert run_all(runs, LocalJobs(['cpu']), stand_in(tmp_path), done.append) == {}
    assert done == runs
    assert len(starts(runs[0])) == 1
    # Nothing is left beside the run's folder and its log.
    left = {path.name for path in runs[0].work_dir.parent.iterdir()}
    assert left - {'end'} == {'seed0', 'seed0.log', 'seed0.job'}


def test_a_run_whose_job_was_killed_is_waited_for(tmp_path):
    runs = runs_of(tmp_path, 'waits')
    table = Table(tmp_path, 'waits')
    wait_for(lambda: all(map(starts, runs)))
    os.kill(job_of(starts(runs[0])[0]), signal.SIGKILL)
    os.kill(starts(runs[0])[0], 0)  # Alive.
    let_them_end(runs)
    assert table.last_line() == '{}'
    assert (runs[0].work_dir / 'finished').exists()


def test_a_killed_run_is_a_failure_that_names_its_log(tmp_path):
    runs = runs_of(tmp_path, 'slow', 'good')
    table = Table(tmp_path, 'slow', 'good')
    wait_for(lambda: all(map(starts, runs)))
    os.kill(starts(runs[0])[0], signal.SIGKILL)
    line = table.last_line()
    assert "{'slow0, seed 0': " in line
    assert 'ended by SIGKILL: ' in line
    assert str(runs[0].work_dir.with_name('seed0.log')) in line
    assert (runs[1].work_dir / 'finished').exists()


def test_a_run_on_another_machine_is_not_started_here(tmp_path):
    training = Training('a run', ('true',), tmp_path / 'seed0')
    with run_lock(training.lock) as lock:
        note_holder(lock, cluster='slurm')
        with pytest.raises(
            InputError, match=f'a run is running on {socket.gethostname()}, started w'
        ):
            LocalJobs(['cpu']).attach([training])
    assert LocalJobs(['cpu']).attach([training]) == []
