"""Kill trainings at random moments, resume them to the end, and compare them with uninterrupted ones.

``python -m tests.kills --kills 66``; the exit status is 1 if any bit differs. Each kind of run is
first trained without a kill. Then runs are killed by SIGKILL, half of them at a random time and half
in a moment in which a file is written, renamed or removed, up to three times, and are resumed as
``tools/train.py --resume`` does.
"""

import argparse
import importlib
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import track

from .comparison import differences
from .crash_points import crash_points
from .runs import RUNS, start

# Imported once, before the processes are forked.
LIBRARIES = [
    f'{library}.{part}'
    for library in ('mmpretrain', 'mmdet')
    for part in ('models', 'datasets', 'evaluation', 'visualization')
]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--kills', type=int, default=66, help='at least so many in all')
    parser.add_argument('--kinds', nargs='+', choices=list(RUNS), default=list(RUNS))
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


def fork(kind: str, folder: Path, work_dir: Path, at: int = 0, rank: int = 0, port: int = 0) -> int:
    """Start a training in a child process, which is killed at a moment; return its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        log = os.open(folder / 'log', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if port:
            world = dict(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2')
            os.environ.update(world, MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
        end = partial(os.kill, os.getpid(), signal.SIGKILL)
        moments = work_dir.with_suffix('.moments')

        def count(number: int) -> None:
            if rank == 0:
                moments.write_text(str(number))

        with crash_points(at if rank == 0 else 0, end, count):
            start(kind, folder, work_dir)
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def attempt(kind: str, folder: Path, work_dir: Path, at: int = 0, after: float = 0.0) -> bool:
    """Start a run and kill it, at a moment or after some seconds; return whether it was killed."""
    port = _free_port() if kind == 'processes' else 0
    ranks = (0, 1) if port else (0,)
    children = [fork(kind, folder, work_dir, at, rank, port) for rank in ranks]
    began, killed = time.monotonic(), False
    running = list(children)
    while running:
        for child in list(running):
            done, status = os.waitpid(child, os.WNOHANG)
            if not done:
                continue
            running.remove(child)
            if os.WIFSIGNALED(status):
                killed = True
            elif os.WEXITSTATUS(status) and not killed:
                for other in running:
                    os.kill(other, signal.SIGKILL)
                raise RuntimeError(
                    f'{kind} ended in an error:\n{(folder / "log").read_text()[-4000:]}'
                )
        late = after and time.monotonic() - began > after
        if running and (killed or late):
            for child in running:
                os.kill(child, signal.SIGKILL)
            killed = True
        time.sleep(0.01)
    return killed


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


def main() -> int:
    args = parse_args()
    for name in LIBRARIES:
        importlib.import_module(name)
    draw = random.Random(args.seed)
    console = Console(stderr=True)
    kills = dict.fromkeys(args.kinds, 0)
    in_writing, runs, wrong = 0, dict.fromkeys(args.kinds, 0), []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        straight, seconds, moments = {}, {}, {}
        for kind in track(args.kinds, 'uninterrupted runs', console=console):
            folder = Path(temporary) / kind
            folder.mkdir()
            straight[kind] = folder / 'straight'
            start_of_run = time.monotonic()
            attempt(kind, folder, straight[kind])
            seconds[kind] = time.monotonic() - start_of_run
            moments[kind] = int(straight[kind].with_suffix('.moments').read_text())
        turn = 0
        while sum(kills.values()) < args.kills:
            kind = args.kinds[turn % len(args.kinds)]
            turn += 1
            folder = Path(temporary) / kind
            work_dir = folder / 'killed'
            told = []
            for _ in range(draw.randint(1, 3)):
                writing = draw.random() < 0.5
                how = (
                    dict(at=draw.randint(1, moments[kind]))
                    if writing
                    else dict(after=draw.uniform(0.1, 1.0) * seconds[kind])
                )
                if not attempt(kind, folder, work_dir, **how):
                    break
                kills[kind] += 1
                in_writing += writing
                told.append(f'moment {how["at"]}' if writing else f'{how["after"]:.2f} s')
            attempt(kind, folder, work_dir)
            runs[kind] += 1
            found = differences(work_dir, straight[kind])
            wrong += [f'{kind}, killed at {", ".join(told)}: {line}' for line in found]
            result = f'differs: {found[:3]}' if found else 'bit-identical'
            console.print(f'{sum(kills.values())} kills; {kind}, {", ".join(told)}: {result}')
            shutil.rmtree(work_dir)
    for kind in args.kinds:
        print(f'| {kind} | {runs[kind]} | {kills[kind]} |')
    total = sum(kills.values())
    print(
        f'{total} kills ({in_writing} while writing) of {sum(runs.values())} runs, '
        f'{len({line.partition(":")[0] for line in wrong})} runs differ, '
        f'{time.monotonic() - began:.0f} s'
    )
    print(*wrong, sep='\n')
    return bool(wrong)


if __name__ == '__main__':
    sys.exit(main())
