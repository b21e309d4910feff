import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mmmuse.errors import InputError
from mmmuse.jobs.code_version import code_version
from mmmuse.jobs.local import LocalJobs
from mmmuse.tables import Row, Run, run_all
from mmmuse.tables.queue import last_line
from mmmuse.tables.record import log_of

from ..test_jobs.stand_in import runs_of, stand_in

pytestmark = pytest.mark.slow


@pytest.fixture
def train(tmp_path: Path, monkeypatch) -> list[str]:
    monkeypatch.setattr(LocalJobs, 'poll_seconds', 0.1)
    return stand_in(tmp_path)


def times(run: Run) -> tuple[float, float]:
    start, end = (run.work_dir / 'times').read_text().split()
    return float(start), float(end)


def test_two_slots_take_two_runs_at_a_time_and_share_the_processor(tmp_path, train):
    runs, done = runs_of(tmp_path, 'good', 'good', 'good'), []
    failed = run_all(runs, LocalJobs(['cpu', 'cpu']), train, done.append)
    assert failed == {}
    assert sorted(run.name for run in done) == [run.name for run in runs]
    (_, end), (other, _), (third, _) = map(times, runs)
    assert other < end  # Side by side.
    assert third > min(end, times(runs[1])[1])
    threads = max(len(os.sched_getaffinity(0)) // 2, 1)
    commit, said = log_of(runs[0]).read_text().splitlines()
    assert commit == f'commit: {code_version()}'
    assert said == f"{threads} ''"


def test_a_run_whose_folder_was_deleted_has_a_log_of_its_own(tmp_path, train):
    (run,) = runs_of(tmp_path, 'good')
    log = log_of(run)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text('commit: former\nerror: of another time\n')
    assert run_all([run], LocalJobs(['cpu']), train, lambda run: None) == {}
    assert log.read_text().startswith(f'commit: {code_version()}\n')
    run_all([run], LocalJobs(['cpu']), train, lambda run: None)
    assert log.read_text().count('commit: ') == 2  # Of a resumed run, all starts.


def test_the_error_of_a_run_is_that_of_its_last_start(tmp_path):
    log = tmp_path / 'seed0.log'
    log.write_text('commit: a\nerror: no data\ncommit: b\nstarting\n')
    assert last_line(log) == f'starting (see {log})'
    log.write_text('commit: a\nerror: no data\ncommit: b\n')
    assert last_line(log) == f'no output (see {log})'


def test_a_run_that_fails_is_reported_and_the_others_go_on(tmp_path, train):
    runs, done = runs_of(tmp_path, 'bad', 'good'), []
    failed = run_all(runs, LocalJobs(['cpu']), train, done.append)
    assert [run.name for run in done] == ['good1, seed 0']
    assert list(failed) == ['bad0, seed 0']
    assert failed['bad0, seed 0'].startswith('a config that cannot be run (see ')


def test_a_row_that_cannot_be_trained_is_not_tried_with_its_other_seeds(tmp_path, train):
    row = Row('broken', 'broken')
    runs = [Run(row, seed, tmp_path / f'seed{seed}', 2, {}) for seed in (0, 1)]
    runs += runs_of(tmp_path, 'good')
    done = []
    failed = run_all(runs, LocalJobs(['cpu']), train, done.append)
    assert [run.name for run in done] == ['good0, seed 0']
    assert failed['broken, seed 1'] == 'skipped: broken, seed 0 failed'


def test_a_run_that_ends_without_its_metrics_has_failed(tmp_path, train):
    def finished(run: Run) -> None:
        raise InputError('no metrics')

    runs = runs_of(tmp_path, 'good')
    assert run_all(runs, LocalJobs(['cpu']), train, finished) == {'good0, seed 0': 'no metrics'}


def test_an_exit_code_that_is_no_signal_is_a_failure_like_others(tmp_path, train):
    (run,) = runs_of(tmp_path, 'exits with -1')
    failed = run_all([run], LocalJobs(['cpu']), train, lambda run: None)
    assert failed[run.name].startswith('of the program itself (see ')


@pytest.fixture
def _ctrl_c():
    """Ctrl-C as in the foreground: in the background the shell has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures('_ctrl_c')
def test_ctrl_c_interrupts_every_run_and_waits_for_all_even_if_it_comes_twice(tmp_path, train):
    runs = runs_of(tmp_path, 'slow', 'slow')

    def when_it_runs() -> None:
        while not all(list(run.work_dir.glob('*/vis_data/scalars.json')) for run in runs):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)  # An impatient second time, while the runs are ending.
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=when_it_runs).start()
    with pytest.raises(KeyboardInterrupt):
        run_all(runs, LocalJobs(['cpu', 'cpu']), train, lambda run: None)
    assert all((run.work_dir / 'interrupted').exists() for run in runs)


def test_a_run_waits_for_the_one_that_it_goes_on_from(tmp_path, train):
    first, other, second = runs_of(tmp_path, 'good', 'good', 'good')
    runs, done = [replace(second, after=first.work_dir), first, other], []
    assert run_all(runs, LocalJobs(['cpu', 'cpu']), train, done.append) == {}
    assert len(done) == 3
    assert times(second)[0] > times(first)[1]
    assert times(other)[0] < times(first)[1]


def test_what_goes_on_from_a_failed_run_is_not_tried(tmp_path, train):
    bad, second, third, good = runs_of(tmp_path, 'bad', 'good', 'good', 'good')
    runs, done = [bad, replace(second, after=bad.work_dir)], []
    runs += [replace(third, after=second.work_dir), good]
    failed = run_all(runs, LocalJobs(['cpu']), train, done.append)
    assert [run.name for run in done] == [good.name]
    assert failed[second.name] == f'skipped: {bad.name} failed'
    assert failed[third.name] == f'skipped: {second.name} failed'
