"""Run many trainings on the available devices, one per slot."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
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

from .plan import Run
from .record import COMMIT, code_version, log_of, logged_epochs

_POLL_SECONDS = 1.0


def check_devices(devices: Sequence[str] | None) -> list[str]:
    """Return the devices to run on, by default every GPU, or else the CPU.

    Args:
        devices: ``'cpu'``, ``'cuda:0'``, ...; one given twice has two runs at a time.

    Raises:
        InputError: If a device does not exist.
    """
    present = [f'cuda:{i}' for i in range(torch.cuda.device_count())]
    if not devices:
        return present or ['cpu']
    devices = ['cuda:0' if device == 'cuda' else device for device in devices]
    for device in devices:
        if device not in ('cpu', *present):
            raise InputError(
                f'unknown device {device!r}; available: {", ".join(["cpu", *present])}'
            )
    return devices


def environment(device: str, devices: Sequence[str]) -> dict[str, str]:
    """Return the environment of a run that sees one device, or its share of the processor."""
    if device == 'cpu':
        cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
        threads = str(max(cores // list(devices).count('cpu'), 1))
        return {**os.environ, 'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': threads}
    number = int(device.partition(':')[2])
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')  # Device numbers count the visible GPUs.
    shown = visible.split(',')[number].strip() if visible else str(number)
    return {**os.environ, 'CUDA_VISIBLE_DEVICES': shown}


def run_all(
    runs: Sequence[Run],
    devices: Sequence[str],
    train: Sequence[str],
    finished: Callable[[Run, str], None],
    keep_open: Sequence[int] = (),
) -> dict[str, str]:
    """Train every run, as many at a time as there are devices.

    If a run fails, the others continue; if it fails before the end of its first epoch, the
    row's other seeds are skipped. On Ctrl-C (and on any error) the runs in the slots are
    interrupted; the next call resumes them from their last checkpoint.

    Args:
        runs: In their order.
        devices: The slots; see :func:`check_devices`.
        train: The command that trains a config: ``mmmuse train``.
        finished: Called with each finished run and its device.
        keep_open: File descriptors that the runs inherit, such as that of a lock.

    Returns:
        The last line of the log of each failed run, by its name.
    """
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        bar = progress.add_task('runs', total=len(runs))
        work = _Work(list(runs), devices, train, finished, keep_open, progress, bar)
        try:
            while work.waiting or work.slots:
                work.start()
                time.sleep(_POLL_SECONDS)
                work.collect()
        finally:
            with _uninterrupted():
                work.stop()
    return work.failed


@dataclass
class _Work:
    """The waiting runs, those in the slots, and those that failed."""

    waiting: list[Run]
    devices: Sequence[str]
    train: Sequence[str]
    finished: Callable[[Run, str], None]
    keep_open: Sequence[int]
    progress: Progress
    bar: TaskID
    slots: dict[int, '_Slot'] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Start waiting runs in the free slots."""
        for i, device in enumerate(self.devices):
            if i not in self.slots and self.waiting:
                env = environment(device, self.devices)
                self.slots[i] = _Slot(
                    self.waiting.pop(0), self.train, env, self.progress, self.keep_open
                )

    def collect(self) -> None:
        """Free the slots whose run has ended."""
        for i, slot in list(self.slots.items()):
            code = slot.poll()
            if code is None:
                continue
            del self.slots[i]
            error = slot.last_line() if code else self._finish(slot.run, self.devices[i])
            if error:
                self.failed[slot.run.name] = error
                self._skip_other_seeds(slot.run)
            self.progress.advance(self.bar)
            status = f'failed: {error}' if error else 'done'
            self.progress.console.print(f'{slot.run.name}: {status}', markup=False)

    def stop(self) -> None:
        """Interrupt every run at once, and wait for all."""
        for slot in self.slots.values():
            slot.interrupt()
        for slot in self.slots.values():
            slot.wait()

    def _finish(self, run: Run, device: str) -> str | None:
        try:
            self.finished(run, device)
        except InputError as error:
            return str(error)
        return None

    def _skip_other_seeds(self, failed: Run) -> None:
        """Drop the other seeds of a row whose run failed before the end of its first epoch."""
        if logged_epochs(failed.work_dir, failed.row.metric):
            return
        for run in [run for run in self.waiting if run.row == failed.row]:
            self.waiting.remove(run)
            self.progress.advance(self.bar)
            self.failed[run.name] = f'skipped: {failed.name} failed'


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


class _Slot:
    """One training in a separate process, and its progress bar."""

    def __init__(
        self,
        run: Run,
        train: Sequence[str],
        env: dict[str, str],
        progress: Progress,
        keep_open: Sequence[int],
    ) -> None:
        self.run = run
        self.progress = progress
        self.log = log_of(run)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.task = progress.add_task(run.name, total=run.epochs)
        with self.log.open('a', encoding='utf-8') as log:
            log.write(f'{COMMIT}{code_version()}\n')
            log.flush()
            self.process = subprocess.Popen(
                [*train, *run.arguments()],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=env,
                pass_fds=keep_open,
                start_new_session=True,  # It receives Ctrl-C only once, from `interrupt`.
            )

    def poll(self) -> int | None:
        """Update the progress bar; return the exit status, None while the run goes on."""
        code = self.process.poll()
        done = max(logged_epochs(self.run.work_dir, self.run.row.metric), default=0)
        self.progress.update(self.task, completed=done)
        if code is not None:
            self.progress.remove_task(self.task)
        return code

    def interrupt(self) -> None:
        """Send the process SIGINT."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def wait(self) -> None:
        """Wait for the end of the process; kill it after 30 s."""
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def last_line(self) -> str:
        """Return the error line of the log, or its last line if it has none."""
        lines = [line for line in self.log.read_text(encoding='utf-8').splitlines() if line.strip()]
        errors = [line for line in lines[-20:] if line.startswith('error: ')]
        return f'{(errors or lines)[-1].removeprefix("error: ")} (see {self.log})'
