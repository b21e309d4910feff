"""Jobs in a real Slurm, which is started for these tests."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mmmuse.errors import InputError
from mmmuse.jobs.slurm import SlurmJobs
from mmmuse.jobs.slurm_options import SlurmOptions, check_slurm
from mmmuse.jobs.slurm_queue import QueueEntry, read_queue
from mmmuse.tables import Row, Run, run_all

from .stand_in import let_them_end, runs_of, stand_in, starts, wait_for

pytestmark = pytest.mark.usefixtures('slurm')


def jobs(folder: Path, cancel: bool = False, **options) -> SlurmJobs:
    options = {'gpus': 0, 'cpus': 1, 'partition': 'main', 'minutes': 10, **options}
    return SlurmJobs(SlurmOptions(**options), folder / '.jobs', cancel)


def left() -> list[QueueEntry]:
    return [entry for entry in read_queue() if entry.is_left]


def answer(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(autouse=True)
def _an_empty_queue(slurm):
    yield
    for entry in left():
        answer('scancel', entry.number)
    wait_for(lambda: not left())


def when(
    ready: Callable[[], bool], act: Callable[[], object], seconds: float = 60
) -> threading.Thread:
    """Act in another thread as soon as something is true."""

    def wait_and_act() -> None:
        wait_for(ready, seconds)
        act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


@pytest.fixture
def _ctrl_c():
    """Ctrl-C as in the foreground: in the background the shell has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def start_again_now() -> None:
    """Take from a job that is queued again the two minutes that Slurm lets it wait."""
    wait_for(lambda: any(entry.reason == 'BeginTime' for entry in left()))
    # A job that starts while its node still ends the first start of it is lost.
    wait_for(lambda: set(answer('sinfo', '--noheader', '--format=%T').split()) == {'idle'})
    for entry in left():
        if entry.reason == 'BeginTime':
            # The node refuses a start in the second in which it ended the first one.
            answer('scontrol', 'update', f'JobId={entry.number}', 'StartTime=now+2')


def number_of(index: int) -> str:
    """Return Slurm's number of the job of this index in its array."""
    return next(entry.number for entry in left() if entry.index == index)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_every_run_is_a_job_of_one_array_with_a_log_of_its_own(tmp_path):
    runs, done, seen = runs_of(tmp_path, 'waits', 'waits', 'waits'), [], []

    def look() -> None:
        seen.extend(left())
        let_them_end(runs)

    thread = when(lambda: len(starts(runs[0])) == len(starts(runs[1])) == 1, look)
    failed = run_all(runs, jobs(tmp_path, array_parallelism=2), stand_in(tmp_path), done.append)
    thread.join()
    assert failed == {}
    assert sorted(run.name for run in done) == [run.name for run in runs]
    assert [entry.index for entry in seen] == [2, 0, 1]  # Waiting ones are first.
    assert [entry.is_waiting for entry in seen] == [True, False, False]
    assert len({entry.name for entry in seen}) == 1
    for run in runs:
        commit, said = run.work_dir.with_name('seed0.log').read_text().splitlines()
        assert commit.startswith('commit: ')
        assert said.startswith('1 ')  # Threads: the processors that the job has asked for.
    assert not (tmp_path / '.jobs').exists()


@pytest.mark.usefixtures('_ctrl_c')
def test_ctrl_c_leaves_the_jobs_and_a_second_start_watches_them(tmp_path, capsys):
    runs, done, train = runs_of(tmp_path, 'waits', 'waits'), [], stand_in(tmp_path)
    thread = when(lambda: all(map(starts, runs)), interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_all(runs, jobs(tmp_path), train, done.append)
    thread.join()
    assert '2 runs stay in Slurm' in ' '.join(capsys.readouterr().err.split())
    assert len(left()) == 2
    let_them_end(runs)
    assert run_all(runs, jobs(tmp_path), train, done.append) == {}
    assert 'still running from an earlier start: 2' in capsys.readouterr().err
    assert [len(starts(run)) for run in runs] == [1, 1]
    assert len(done) == 2


@pytest.mark.usefixtures('_ctrl_c')
def test_ctrl_c_cancels_the_jobs_if_asked_to(tmp_path):
    runs, train = runs_of(tmp_path, 'slow', 'slow', 'slow'), stand_in(tmp_path)
    thread = when(lambda: len(starts(runs[0])) == len(starts(runs[1])) == 1, interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_all(runs, jobs(tmp_path, cancel=True), train, lambda run: None)
    thread.join()
    assert left() == []
    assert [(run.work_dir / 'interrupted').read_text() for run in runs[:2]] == ['15', '15']
    assert starts(runs[2]) == []


def test_a_cancelled_run_has_failed_and_its_row_goes_on(tmp_path):
    row = Row('slow', 'slow')
    runs = [Run(row, seed, tmp_path / f'seed{seed}', 2, {}) for seed in (0, 1)]
    job = jobs(tmp_path)
    thread = when(lambda: starts(runs[0]), lambda: answer('scancel', number_of(0)))
    other = when(lambda: starts(runs[1]), lambda: answer('scancel', number_of(1)))
    failed = run_all(runs, job, stand_in(tmp_path), lambda run: None)
    thread.join(), other.join()
    assert failed['slow, seed 0'].startswith('ended by SIGTERM: ')
    # Its other seed was not skipped.
    assert failed['slow, seed 1'].startswith('ended by SIGTERM: ')


def test_a_row_that_cannot_be_trained_is_taken_out_of_the_queue(tmp_path):
    row = Row('broken', 'broken')
    runs = [Run(row, seed, tmp_path / f'seed{seed}', 2, {}) for seed in (0, 1, 2)]
    failed = run_all(
        runs, jobs(tmp_path, array_parallelism=1), stand_in(tmp_path), lambda run: None
    )
    assert failed['broken, seed 0'].startswith('nothing reads this (see ')
    assert 'skipped: broken, seed 0 failed' in failed.values()
    assert left() == []


def test_a_preempted_run_is_queued_again_and_resumed(tmp_path):
    runs, done = runs_of(tmp_path, 'resumed'), []

    def preempt() -> None:
        flags = ['--cpus-per-task=2', '--time=1', f'--output={tmp_path}/urgent.out']
        answer('sbatch', '--partition=urgent', *flags, '--wrap=sleep 1')
        start_again_now()

    thread = when(lambda: list(runs[0].work_dir.glob('*/*/scalars.json')), preempt)
    assert run_all(runs, jobs(tmp_path), stand_in(tmp_path), done.append) == {}
    thread.join()
    assert done == runs
    assert (runs[0].work_dir / 'interrupted').read_text() == '15'
    assert len(starts(runs[0])) == 2
    log = runs[0].work_dir.with_name('seed0.log').read_text()
    assert log.count('commit: ') == 2


@pytest.mark.parametrize('name', ['USR2', 'TERM'])
def test_a_warned_run_is_queued_again_and_resumed(tmp_path, name):
    """Slurm warns before the end of the time; before a preemption it may send SIGTERM only."""
    runs, done = runs_of(tmp_path, 'resumed'), []

    def warn() -> None:
        answer('scancel', f'--signal={name}', left()[0].number)
        start_again_now()

    thread = when(lambda: list(runs[0].work_dir.glob('*/*/scalars.json')), warn)
    assert run_all(runs, jobs(tmp_path), stand_in(tmp_path), done.append) == {}
    thread.join()
    assert done == runs
    assert (runs[0].work_dir / 'interrupted').read_text() == '15'
    assert len(starts(runs[0])) == 2


def test_a_table_that_was_killed_after_it_submitted_finds_its_jobs(tmp_path):
    runs, train = runs_of(tmp_path, 'waits', 'waits'), stand_in(tmp_path)
    process = os.fork()
    if process == 0:
        run_all(runs, jobs(tmp_path), train, lambda run: None)
        os._exit(0)
    wait_for(lambda: len(left()) == 2 and starts(runs[1]))
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    let_them_end(runs)
    done = []
    assert run_all(runs, jobs(tmp_path), train, done.append) == {}
    assert len(done) == 2
    assert [len(starts(run)) for run in runs] == [1, 1]


def test_jobs_that_slurm_refuses_leave_no_file(tmp_path):
    runs, train = runs_of(tmp_path, 'good', 'good'), stand_in(tmp_path)
    with pytest.raises(InputError, match=r'^sbatch: .*invalid partition specified: nope'):
        run_all(runs, jobs(tmp_path, partition='nope'), train, lambda run: None)
    assert [path.name for path in tmp_path.iterdir()] == ['train.py']


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (dict(partition='nope'), "no partition 'nope' in Slurm; available: main, urgent"),
        (dict(gpus=1), 'sbatch: Invalid generic resource (gres) specification'),
        (dict(cpus=3), 'sbatch: Requested node configuration is not available'),
        (dict(more=['mem=99G']), 'sbatch: Requested node configuration is not available'),
        (dict(time='2-00'), "--time is 2880 minutes, and partition 'main' allows 60"),
    ],
)
def test_what_slurm_would_refuse_is_said_before_anything_is_submitted(flags, message):
    asked = dict(partition=None, time=None, gpus=0, cpus=1, array_parallelism=4, more=())
    with pytest.raises(InputError) as error:
        check_slurm(**{**asked, **flags})
    assert str(error.value).startswith(message)
    assert left() == []


def test_without_a_time_a_job_has_that_of_the_partition():
    options = check_slurm(None, None, 0, 1, 4, ['comment=a table'])
    assert options == SlurmOptions(None, 60, 0, 1, 4, {'comment': 'a table'})


def test_slurm_that_is_away_for_a_while_ends_no_run(tmp_path, monkeypatch):
    runs, done = runs_of(tmp_path, 'waits'), []
    job, train = jobs(tmp_path), stand_in(tmp_path)
    path = os.environ['PATH']

    def go_away() -> None:
        monkeypatch.setenv('PATH', str(tmp_path))
        wait_for(lambda: 'squeue does not answer' in job.status())
        time.sleep(2)  # Longer than a job may be out of the queue.
        monkeypatch.setenv('PATH', path)
        let_them_end(runs)

    thread = when(lambda: starts(runs[0]), go_away)
    assert run_all(runs, job, train, done.append) == {}
    thread.join()
    assert done == runs
