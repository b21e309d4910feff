"""Train the runs of a table as jobs, and watch them."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from mmmuse.command_line.signals import ENDING
from mmmuse.errors import InputError
from mmmuse.jobs.code_version import COMMIT
from mmmuse.jobs.training import STOPPED, Training, read_outcome

from .plan import Run
from .record import logged_epochs


class Jobs(Protocol):
    """Where trainings run: :class:`mmmuse.jobs.local.LocalJobs` or :class:`mmmuse.jobs.slurm.SlurmJobs`."""

    poll_seconds: float

    def attach(self, trainings: Sequence[Training]) -> list[Training]: ...

    def submit(self, trainings: Sequence[Training]) -> list[Training]: ...

    def ended(self) -> list[tuple[Training, int | None, str]]: ...

    def withdraw(self, trainings: Sequence[Training]) -> list[Training]: ...

    def status(self) -> str: ...

    def stop(self) -> str: ...


def run_all(
    runs: Sequence[Run],
    jobs: Jobs,
    train: Sequence[str],
    finished: Callable[[Run], None],
) -> dict[str, str]:
    """Train every run.

    A run that an earlier call started and that still runs is watched and not started again; one that has
    ended since is finished. If a run fails, the others continue; if it fails before the end of its first
    epoch, the row's other seeds are skipped. On Ctrl-C (and on any error) the jobs are stopped
    as ``jobs.stop`` does it; the next call resumes them from their last checkpoint.

    Args:
        runs: In their order.
        jobs: Where they run.
        train: The command that trains a config: ``mmmuse train``.
        finished: Called with each finished run.

    Returns:
        The last line of the log of each failed run, by its name.
    """
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        bar = progress.add_task('runs', total=len(runs))
        work = _Work(list(runs), jobs, train, finished, progress, bar)
        try:
            work.attach()
            while work.waiting or work.submitted:
                work.submit()
                time.sleep(jobs.poll_seconds)
                work.collect()
        finally:
            with _uninterrupted():
                done = jobs.stop()
            if done:
                work.print(done)
    return work.failed


@dataclass
class _Work:
    """The waiting runs, those that are submitted, and those that failed."""

    waiting: list[Run]
    jobs: Jobs
    train: Sequence[str]
    finished: Callable[[Run], None]
    progress: Progress
    bar: TaskID
    submitted: dict[Path, Run] = field(default_factory=dict)  # By the absolute folder.
    bars: dict[Path, TaskID] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def attach(self) -> None:
        """Watch the runs that are still running, and finish those that have ended unwatched."""
        by_folder = {training.work_dir: run for run, training in self._trainings(self.waiting)}
        attached = self.jobs.attach([training for _, training in self._trainings(self.waiting)])
        for training in attached:
            self._take(by_folder[training.work_dir])
        if attached:
            self.print(f'still running from an earlier start: {len(attached)}')
        for run, training in self._trainings(self.waiting):
            if read_outcome(training.outcome) == 0 and self._finish(run) is None:
                self.waiting.remove(run)
                self._ended(run, training, None)

    def submit(self) -> None:
        """Submit the waiting runs that go on from no unfinished one."""
        unfinished = {run.work_dir for run in (*self.waiting, *self.submitted.values())}
        ready = [run for run in self.waiting if run.after not in unfinished]
        by_folder = {training.work_dir: run for run, training in self._trainings(ready)}
        for training in self.jobs.submit([training for _, training in self._trainings(ready)]):
            self._take(by_folder[training.work_dir])

    def collect(self) -> None:
        """Update the bars, and take the runs that have ended out of the queue."""
        for folder, run in self.submitted.items():
            self._show(folder, run)
        for training, code, fate in self.jobs.ended():
            run = self.submitted.pop(training.work_dir)
            if training.work_dir in self.bars:
                self.progress.remove_task(self.bars.pop(training.work_dir))
            error = self._error(run, training, code, fate)
            self._ended(run, training, error)
            if error is not None and code is not None and code not in STOPPED:
                self._skip_other_seeds(run)
            if error is not None:
                self._skip_later(run)
        status = self.jobs.status()
        self.progress.update(self.bar, description=f'runs: {status}' if status else 'runs')

    def _trainings(self, runs: Sequence[Run]) -> list[tuple[Run, Training]]:
        return [
            (
                run,
                Training(
                    run.name,
                    (*self.train, *run.arguments(), '--preemptible'),
                    run.work_dir.absolute(),
                ),
            )
            for run in runs
        ]

    def _take(self, run: Run) -> None:
        self.waiting.remove(run)
        self.submitted[run.work_dir.absolute()] = run

    def _show(self, folder: Path, run: Run) -> None:
        """Show the epochs of a run, once it has started."""
        done = max(logged_epochs(run.work_dir, run.row.metric), default=0)
        if folder not in self.bars and (done or run.work_dir.is_dir()):
            self.bars[folder] = self.progress.add_task(run.name, total=run.epochs)
        if folder in self.bars:
            self.progress.update(self.bars[folder], completed=done)

    def _error(self, run: Run, training: Training, code: int | None, fate: str) -> str | None:
        """Return why a run has failed; None if it is finished."""
        if code == 0:
            return self._finish(run)
        if code is None and self._finish(run) is None:  # Only the note of its end is missing.
            return None
        if code is None:
            return fate
        return f'{_signal_of(code)}{last_line(training.log)}'

    def _finish(self, run: Run) -> str | None:
        try:
            self.finished(run)
        except InputError as error:
            return str(error)
        return None

    def _ended(self, run: Run, training: Training, error: str | None) -> None:
        if error is not None:
            self.failed[run.name] = error
        else:
            training.remove_notes()
        self.progress.advance(self.bar)
        self.print(f'{run.name}: {"done" if error is None else f"failed: {error}"}')

    def print(self, line: str) -> None:
        """Print a line above the bars."""
        self.progress.console.print(line, markup=False)

    def _skip_other_seeds(self, failed: Run) -> None:
        """Drop the other seeds of a row whose run failed before the end of its first epoch."""
        if logged_epochs(failed.work_dir, failed.row.metric):
            return
        others = [run for run in self.submitted.values() if run.row == failed.row]
        withdrawn = self.jobs.withdraw([training for _, training in self._trainings(others)])
        skipped = [self.submitted.pop(training.work_dir) for training in withdrawn]
        for run in [run for run in self.waiting if run.row == failed.row]:
            self.waiting.remove(run)
            skipped.append(run)
        for run in skipped:
            self._skip(run, failed)
            self._skip_later(run)

    def _skip_later(self, failed: Run) -> None:
        """Drop the runs that would go on from one that failed."""
        for run in [run for run in self.waiting if run.after == failed.work_dir]:
            self.waiting.remove(run)
            self._skip(run, failed)
            self._skip_later(run)

    def _skip(self, run: Run, failed: Run) -> None:
        self.progress.advance(self.bar)
        self.failed[run.name] = f'skipped: {failed.name} failed'


def last_line(log: Path) -> str:
    """Return the error line of a log's last start, or its last line if it has none."""
    text = log.read_text(encoding='utf-8', errors='replace') if log.is_file() else ''
    lines = [line for line in text.splitlines() if line.strip()]
    starts = [number for number, line in enumerate(lines) if line.startswith(COMMIT)]
    lines = lines[starts[-1] + 1 :] if starts else lines
    errors = [line for line in lines[-20:] if line.startswith('error: ')]
    line = (errors or lines or ['no output'])[-1].removeprefix('error: ')
    return f'{line} (see {log})'


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ignore further signals; only the main thread receives them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _signal_of(code: int) -> str:
    """Return the signal that an exit code above 128 stands for, as the start of a message."""
    try:
        return f'ended by {signal.Signals(code - 128).name}: '
    except ValueError:  # A program may exit with any code, such as 255.
        return ''
