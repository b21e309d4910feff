"""A training as a job of submitit."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .code_version import COMMIT, code_version
from .run_lock import note_holder, run_lock

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

STOPPED = (129, 130, 143)  # Exit codes of ``mmmuse train`` after SIGHUP, SIGINT and SIGTERM.
# From a signal to SIGKILL. Slurm warns 90 seconds before the end of the time.
SECONDS_TO_STOP = {'local': 30, 'slurm': 80}
_POLL_SECONDS = 0.1
_SECONDS_TO_SIGTERM = 1.0


@dataclass(frozen=True)
class Training:
    """One run, as submitit pickles and calls it.

    It starts the command in a process of its own, appends its output to the log (a new one if the
    folder of the run is missing), and notes its exit code.
    Importing this module imports no library: it is imported in every job.

    Attributes:
        name: For messages.
        command: What trains; started again, it goes on from its last checkpoint.
        work_dir: Absolute folder of the run; its log, lock and outcome are beside it.
        environment: Variables that differ from those of the job.
        device: On which it runs, for messages.
    """

    name: str
    command: tuple[str, ...]
    work_dir: Path
    environment: dict[str, str] = field(default_factory=dict)
    device: str = ''

    @property
    def log(self) -> Path:
        """Path of its log."""
        return log_path(self.work_dir)

    @property
    def lock(self) -> Path:
        """Path of the file that is locked while it runs."""
        return self.work_dir.with_name(f'{self.work_dir.name}.lock')

    @property
    def outcome(self) -> Path:
        """Path of the file with its exit code, which exists when it has ended by itself."""
        return self.work_dir.with_name(f'{self.work_dir.name}.outcome.json')

    def __call__(self) -> int:
        """Train, and return the exit code; in Slurm, queue the job again if it is preempted."""
        cluster = os.environ.get('SUBMITIT_EXECUTOR', 'local')
        self.work_dir.parent.mkdir(parents=True, exist_ok=True)
        with _noted_signals() as received, run_lock(self.lock) as lock:
            if lock is None:
                print(f'{self.name} is already running', file=sys.stderr)
                return 1
            note_holder(lock, cluster=cluster, device=self.device)
            self.outcome.unlink(missing_ok=True)
            code = self._train(cluster, lock, received)
            if code and code not in STOPPED and received.keys() & {signal.SIGTERM, _warning()}:
                code = 128 + signal.SIGTERM  # Torchrun has a code of its own.
            preempted = cluster == 'slurm' and code in STOPPED and _is_preempted(received)
            if not preempted:
                self._note(code)
        if preempted:
            # Submitit's handler calls ``checkpoint``, queues the job again and exits.
            signal.raise_signal(_warning())
        return code

    def checkpoint(self) -> 'DelayedSubmission':
        """Return what a job that is queued again calls: the same, which resumes the run."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _note(self, code: int) -> None:
        unfinished = self.outcome.with_suffix('.tmp')
        unfinished.write_text(json.dumps({'code': code}) + '\n', encoding='utf-8')
        unfinished.replace(self.outcome)

    def remove_notes(self) -> None:
        """Remove the lock and the outcome of a run that is finished."""
        for path in (self.lock, self.outcome):
            path.unlink(missing_ok=True)

    def _train(self, cluster: str, lock: int, received: dict[int, float]) -> int:
        """Start the process and wait for its end, passing on signals; return its exit code."""
        if not self.work_dir.exists():  # The log is of a run whose folder was deleted.
            self.log.unlink(missing_ok=True)
        with self.log.open('a', encoding='utf-8') as log, _blocked(_warning()):
            log.write(f'{COMMIT}{code_version()}\n')
            log.flush()
            process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                pass_fds=[lock],  # The lock is held until both have ended.
                # Of Slurm's signals, the process receives its own.
                start_new_session=cluster == 'local',
            )
        note_holder(lock, cluster=cluster, device=self.device, process=process.pid)
        asked = None
        while process.poll() is None:
            now = time.monotonic()
            if asked is None and (number := _to_send(cluster, received, now)) is not None:
                asked = now
                if number:
                    process.send_signal(number)
            if asked is not None and now > asked + SECONDS_TO_STOP[cluster]:
                process.kill()
            time.sleep(_POLL_SECONDS)
        code = process.returncode
        return code if code >= 0 else 128 - code


def log_path(work_dir: Path) -> Path:
    """Return the path of a run's log."""
    return work_dir.with_name(f'{work_dir.name}.log')


def read_outcome(path: Path) -> int | None:
    """Return the exit code of a training that has ended; None if it has not, or did not note it."""
    try:
        code = json.loads(path.read_text(encoding='utf-8'))['code'] if path.is_file() else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return code if isinstance(code, int) else None


def _warning() -> int:
    """Return the signal by which Slurm warns of the end of the time, as submitit asks it to."""
    return getattr(signal, f'SIG{os.environ.get("SUBMITIT_PREEMPT_SIGNAL", "USR2")}')


def _to_send(cluster: str, received: dict[int, float], now: float) -> int | None:
    """Return the signal that stops the process, 0 if it has received one, None if it goes on."""
    if cluster == 'local':
        return signal.SIGINT if signal.SIGTERM in received else None
    if signal.SIGTERM in received:
        return 0  # Slurm has sent it to all processes of the job.
    # SIGTERM may follow, and a second one would stop the run without a checkpoint.
    warned = received.get(_warning())
    return signal.SIGTERM if warned is not None and now > warned + _SECONDS_TO_SIGTERM else None


def _is_preempted(received: dict[int, float]) -> bool:
    """Return whether Slurm wants the job to end now and to go on later."""
    if _warning() in received:
        return True
    # After scancel the job is no longer running; before the end of a preemption it still is.
    command = ['squeue', '--noheader', '--format=%T', f'--jobs={os.environ["SLURM_JOB_ID"]}']
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.stdout.strip() == 'RUNNING'


@contextmanager
def _noted_signals() -> Iterator[dict[int, float]]:
    """Note signals with the time of their arrival; SIGINT and SIGHUP are recorded only."""
    received: dict[int, float] = {}

    def note(number: int, frame: Any) -> None:
        received.setdefault(number, time.monotonic())

    numbers = {signal.SIGINT, signal.SIGHUP, signal.SIGTERM, _warning()}
    before = {number: signal.signal(number, note) for number in numbers}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _blocked(number: int) -> Iterator[None]:
    """Block a signal in the processes that are started, which it would terminate."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
