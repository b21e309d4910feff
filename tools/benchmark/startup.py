"""Seconds from process start to the first training iteration: mmmuse against mmpretrain.

Each run is a new process that ends where its first iteration would begin, after imports and the
building of config, data and model. mmpretrain trains the same ResNet-18 by its own command and config. Runs
are interleaved and the median is taken; the work dirs are temporary.

With ``--help-only`` the time of ``mmmuse COMMAND --help`` is measured instead, beside that of Python itself.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mmpretrain

from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.explain import explained
from mmmuse.command_line.report import check_json, hardware, print_table, write_json
from mmmuse.commands import COMMANDS
from mmmuse.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
MIM = Path(mmpretrain.__file__).parent / '.mim'
MMPRETRAIN = 'mmpretrain'
MARK = 'seconds to the first iteration:'

# python -c PRELUDE START SCRIPT ARGUMENTS...
PRELUDE = f"""
import runpy, sys, time
from mmengine.runner import EpochBasedTrainLoop

def stop(*args):
    print({MARK!r}, time.time() - start, flush=True)
    sys.exit()

EpochBasedTrainLoop.run_iter = stop
start = float(sys.argv[1])
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def commands(args: argparse.Namespace) -> dict[str, list[str]]:
    """Return script and arguments of each variant."""
    data = [
        f'{split}_dataloader.dataset.{key}'
        for split in ('train', 'val')
        for key in (f'data_root={args.data_root}', 'download=False')
    ]
    same = ['model.backbone.depth=18', 'model.head.in_channels=512']
    same += ['train_dataloader.batch_size=128']
    runs = {
        Path(config).stem: [f'{ROOT}/tools/train.py', f'{ROOT}/{config}', '--cfg-options', *data]
        for config in args.configs
    }
    theirs = [f'{MIM}/tools/train.py', f'{MIM}/configs/resnet/resnet50_8xb16_cifar100.py']
    return {**runs, MMPRETRAIN: [*theirs, '--cfg-options', *same, *data]}


def seconds_to_first_iteration(command: list[str], device: str) -> float:
    environment = dict(os.environ)
    if device == 'cpu':
        environment['CUDA_VISIBLE_DEVICES'] = ''
    with tempfile.TemporaryDirectory() as work_dir:
        run = subprocess.run(
            [sys.executable, '-c', PRELUDE, str(time.time()), *command, '--work-dir', work_dir],
            capture_output=True,
            text=True,
            env=environment,
        )
    for line in run.stdout.splitlines():
        if line.startswith(MARK):
            return float(line.removeprefix(MARK))
    said = run.stderr.strip().splitlines() or ['no message']
    raise InputError(
        f'{command[1]} did not reach its first iteration: ' + said[-1].removeprefix('error: ')
    )


def seconds_of_help(command: str) -> tuple[float, float]:
    """Return the seconds that ``--help`` takes, and those of the processor; '' is Python itself."""
    code = ['-m', 'mmmuse', command, '--help'] if command else ['-c', 'pass']
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *code], stdout=subprocess.DEVNULL, check=True)
    seconds, after = time.perf_counter() - start, os.times()
    used = after.children_user + after.children_system
    return seconds, used - before.children_user - before.children_system


def measure_help(repeats: int, json: str | None) -> None:
    """Print and write the medians of every command's ``--help``."""
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in ('', *COMMANDS)}
    for name in repeats * list(runs):
        runs[name].append(seconds_of_help(name))
    median = {
        name or 'python -c pass': [statistics.median(values) for values in zip(*times, strict=True)]
        for name, times in runs.items()
    }
    print_table(
        f'Seconds of --help, median of {repeats} interleaved runs; {hardware("cpu")}',
        ['command', 'seconds', 'of the processor'],
        [[name, f'{wall:.2f}', f'{used:.2f}'] for name, (wall, used) in median.items()],
    )
    write_json(json, dict(seconds=median), 'cpu')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--configs',
        nargs='+',
        default=[
            'configs/baselines/resnet18_cifar100.py',
            'configs/muse/resnet18_cifar100_mi_x_si.py',
        ],
    )
    parser.add_argument('--data-root', default=str(ROOT / 'data' / 'cifar100'))
    parser.add_argument('--device', default='cpu', help='cpu hides every GPU from the runs')
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--json', help='file for the figures')
    parser.add_argument('--help-only', action='store_true', help='measure --help of each command')
    args = parser.parse_args()
    with explained():
        refuse_code_in_files()
        check_json(args.json)
        if args.help_only:
            measure_help(args.repeats, args.json)
            return
        runs = commands(args)
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for name in args.repeats * list(runs):
            seconds[name].append(seconds_to_first_iteration(runs[name], args.device))
        median = {name: statistics.median(values) for name, values in seconds.items()}
        print_table(
            f'Seconds to the first training iteration, ResNet-18, CIFAR-100, median of '
            f'{args.repeats} interleaved runs; {hardware(args.device)}',
            ['command', 'seconds', f'x {MMPRETRAIN}'],
            [
                [name, f'{value:.2f}', f'{value / median[MMPRETRAIN]:.2f}']
                for name, value in median.items()
            ],
        )
        write_json(args.json, dict(seconds=median, runs=seconds), args.device)


if __name__ == '__main__':
    main()
