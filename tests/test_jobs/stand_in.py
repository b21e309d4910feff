"""A program that stands in for ``mmmuse train``, and a process that trains with it."""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mmmuse.jobs.local import LocalJobs
from mmmuse.tables import Row, Run, run_all

# It says what it sees, logs its epochs and ends as the config's name says. A signal interrupts it once,
# and it notes which; started again, it goes on with the next epoch.
TRAIN = """
import json, os, pathlib, signal, sys, time
config, _, work_dir = sys.argv[1:4]
if config == 'broken':
    sys.exit('error: nothing reads this')
work_dir = pathlib.Path(work_dir)

def stop(number, frame):
    raise KeyboardInterrupt(number)

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, stop)
done = len(list(work_dir.glob('*/vis_data')))
log = work_dir / str(time.time_ns()) / 'vis_data'
log.mkdir(parents=True)
with (work_dir / 'starts').open('a') as starts:
    starts.write(f'{os.getpid()}\\n')
print(os.environ['OMP_NUM_THREADS'], repr(os.environ.get('CUDA_VISIBLE_DEVICES')), flush=True)
start = time.time()
try:
    with (log / 'scalars.json').open('w') as file:
        for epoch in (1, 2):
            if config == 'resumed' and done == 0 and epoch == 2:
                time.sleep(120)
            end = work_dir.parent / 'end'
            while config == 'waits' and not end.exists():
                time.sleep(0.05)
            time.sleep(60 if config == 'slow' else 0.3)
            file.write(json.dumps({'accuracy/top1': epoch, 'step': epoch}) + '\\n')
            file.flush()
except KeyboardInterrupt as error:
    time.sleep(0.5)
    (work_dir / 'interrupted').write_text(str(error))
    sys.exit(128 + error.args[0])
(work_dir / 'times').write_text(f'{start} {time.time()}')
if config == 'bad':
    print('error: a config that cannot be run')
    sys.exit(1)
if config == 'exits with -1':
    print('error: of the program itself')
    sys.exit(-1)
"""


def stand_in(folder: Path) -> list[str]:
    """Write the program, and return the command that starts it."""
    path = folder / 'train.py'
    path.write_text(TRAIN)
    return [sys.executable, str(path)]


def runs_of(folder: Path, *configs: str) -> list[Run]:
    """Return a run of each config, of two epochs."""
    return [
        Run(Row(f'{config}{i}', config), 0, folder / f'{config}{i}' / 'seed0', 2, {})
        for i, config in enumerate(configs)
    ]


class Table:
    """A process, in a group of its own, that trains a run of each config with two slots.

    It is a fork, since importing the libraries takes longer than a test.
    """

    def __init__(self, folder: Path, *configs: str) -> None:
        self.out = folder / f'{time.time_ns()}.out'
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self._run(folder, configs)
            finally:
                os._exit(0)

    def _run(self, folder: Path, configs: Sequence[str]) -> None:
        os.setsid()
        for stream in (1, 2):
            os.dup2(os.open(self.out, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        sys.stderr = os.fdopen(2, 'w')
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
        try:
            failed = run_all(
                runs_of(folder, *configs),
                LocalJobs(['cpu', 'cpu']),
                stand_in(folder),
                lambda run: (run.work_dir / 'finished').touch(),
            )
        except BaseException as error:
            os.write(2, f'{type(error).__name__}\n'.encode())
        else:
            os.write(2, f'{failed}\n'.encode())

    def prints(self, text: str) -> None:
        """Wait until it has printed a text."""
        wait_for(lambda: self.out.is_file() and text in self.out.read_text())

    def kill(self) -> None:
        """End it by SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def last_line(self) -> str:
        """Wait for its end, and return the last line that it printed."""
        wait_for(lambda: os.waitpid(self.pid, os.WNOHANG)[0] != 0)
        return self.out.read_text().splitlines()[-1]


def starts(run: Run) -> list[int]:
    """Return the processes that have trained a run."""
    path = run.work_dir / 'starts'
    return [int(line) for line in path.read_text().splitlines()] if path.is_file() else []


def is_alive(process: int) -> bool:
    """Return whether a process exists, other than as a zombie."""
    try:
        return Path(f'/proc/{process}/stat').read_text().rpartition(') ')[2][0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(ready: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.05)


def let_them_end(runs: Sequence[Run]) -> None:
    """End the runs whose config is ``waits``."""
    for run in runs:
        run.work_dir.parent.mkdir(parents=True, exist_ok=True)
        (run.work_dir.parent / 'end').touch()


def job_of(process: int) -> int:
    """Return the process that started another one."""
    return int(Path(f'/proc/{process}/stat').read_text().rpartition(') ')[2].split()[1])
