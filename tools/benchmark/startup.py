"""Processor seconds of a start: help, a wrong path, and up to the first training iteration.

``mmmuse train`` beside mmpretrain's and mmdet's own ``tools/train.py``, wherever the packages are
installed, on the same configs: theirs, with a few images that the benchmark draws. Each run is a new process, which
ends where its first iteration would begin. Runs are interleaved; of each repeat the ratio to the library's own tool is
taken, and of the ratios the median. Work dirs are temporary. With mmcv's compiled ops missing, mmdet's tool
is started with those of mmmuse, without which it ends with an error.

With ``--help-only`` the time of ``mmmuse COMMAND --help`` is measured instead, beside that of Python itself.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.explain import explained
from mmmuse.command_line.report import check_json, hardware, print_table, write_json
from mmmuse.commands import COMMANDS
from mmmuse.errors import InputError

CASES = ('help', 'wrong path', 'first iteration')
CONFIGS = {'mmpretrain': 'classifier.py', 'mmdet': 'detector.py'}
MARK = 'reached the first iteration'
# Ends a program at its first iteration; nothing is imported for it before the program does.
PRELUDE = f"""
import os, runpy, sys
from importlib.machinery import PathFinder

def stop(*args):
    print({MARK!r}, flush=True)
    os._exit(0)

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != 'mmengine.runner.loops':
            return None
        spec = PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            module.EpochBasedTrainLoop.run_iter = stop

        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder)
sys.argv = sys.argv[1:]
if sys.argv.pop(0) == 'with ops':
    from mmmuse.compat import stand_in_for_mmcv_ops
    stand_in_for_mmcv_ops()
if sys.argv[0].endswith('.py'):
    runpy.run_path(sys.argv[0], run_name='__main__')
else:
    runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
"""
IMAGES = 8
CLASSIFIER = """
_base_ = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'
data = dict(_delete_=True, type='CustomDataset', data_root={root!r})
train_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False,
    dataset=dict(data, pipeline=_base_.train_pipeline))
val_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False,
    dataset=dict(data, pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
"""
DISTILLED = """
_base_ = ['classifier.py', 'mmmuse::_base_/distill/mi_x_si.py']
model = dict(
    _delete_=True, type='mmmuse.SelfDistiller', student=_base_.model, taps='auto',
    neck=_base_.neck, head=_base_.head)
"""
DETECTOR = """
_base_ = 'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py'
data = dict(data_root={root!r}, ann_file='coco.json', data_prefix=dict(img='class_0/'))
train_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False, dataset=dict(dataset=data))
val_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False, dataset=data)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file={root!r} + '/coco.json')
test_evaluator = val_evaluator
"""


class Program(NamedTuple):
    """A program that trains.

    Attributes:
        name: For the table.
        library: Whose own tool it is compared with.
        command: Module or script, and what precedes the arguments of all cases.
        config: Name of its config.
        needs_ops: Whether it needs the ops that mmcv may lack.
    """

    name: str
    library: str
    command: tuple[str, ...]
    config: str
    needs_ops: bool = False


class Seconds(NamedTuple):
    """What a process took: by the clock, and of the processor with its children."""

    wall: float
    processor: float


def lacks_ops() -> bool:
    """Return whether mmcv has no compiled ops; those of mmmuse do not count."""
    folders = find_spec('mmcv').submodule_search_locations
    return PathFinder.find_spec('mmcv._ext', folders) is None


def programs(libraries: list[str]) -> list[Program]:
    """Return the programs of the libraries that are installed; their own tool is the first of each."""
    ours, found = ('mmmuse', 'train'), []
    for library in libraries:
        config = CONFIGS[library]
        spec = find_spec(library)
        tool = spec and Path(spec.origin).parent / '.mim' / 'tools' / 'train.py'
        if not tool or not tool.is_file():
            print(f'no tools/train.py of {library} is installed: left out', file=sys.stderr)
            continue
        detects = library == 'mmdet'
        needs_ops = detects and lacks_ops()
        found.append(Program(library, library, (str(tool),), config, needs_ops))
        found.append(Program(f'mmmuse, config of {library}', library, ours, config))
        if not detects:
            found.append(Program('mmmuse, the same by MI x SI', library, ours, 'distilled.py'))
    return found


def write_data(folder: Path) -> None:
    """Write a few images of two classes, their annotations and the configs."""
    draw, records, boxes = np.random.default_rng(0), [], []
    for i in range(IMAGES):
        path = folder / f'class_{i % 2}' / f'{i}.png'
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (64, 64, 3), np.uint8)).save(path)
        if i % 2 == 0:
            records.append(dict(id=i, file_name=path.name, width=64, height=64))
            box = dict(bbox=[8, 8, 40, 40], area=1600, iscrowd=0)
            boxes.append(dict(id=i + 1, image_id=i, category_id=1, **box))
    coco = dict(images=records, annotations=boxes, categories=[dict(id=1, name='person')])
    (folder / 'coco.json').write_text(json.dumps(coco), encoding='utf-8')
    for name, text in (('classifier', CLASSIFIER), ('detector', DETECTOR)):
        config = text.format(root=str(folder))
        (folder / f'{name}.py').write_text(config, encoding='utf-8')
    (folder / 'distilled.py').write_text(DISTILLED, encoding='utf-8')


def timed(command: list[str], device: str = 'cpu') -> tuple[Seconds, subprocess.CompletedProcess]:
    """Run a command to its end."""
    environment = dict(os.environ)
    if device == 'cpu':
        environment['CUDA_VISIBLE_DEVICES'] = ''
    before, start = os.times(), time.perf_counter()
    finished = subprocess.run(command, capture_output=True, text=True, env=environment)
    wall, after = time.perf_counter() - start, os.times()
    used = after.children_user + after.children_system
    return Seconds(wall, used - before.children_user - before.children_system), finished


def seconds_of(program: Program, case: str, data: Path, device: str) -> Seconds:
    """Return what one run of a program takes.

    Raises:
        InputError: If it did not do what the case is about.
    """
    with tempfile.TemporaryDirectory() as work_dir:
        arguments = {
            'help': ['--help'],
            'wrong path': ['no_such_config.py'],
            'first iteration': [str(data / program.config), '--work-dir', work_dir],
        }[case]
        ops = 'with ops' if program.needs_ops else 'as installed'
        seconds, run = timed(
            [sys.executable, '-c', PRELUDE, ops, *program.command, *arguments], device
        )
    reached = {
        'help': run.returncode == 0 and 'usage:' in run.stdout,
        'wrong path': run.returncode != 0 and 'no_such_config.py' in run.stderr,
        'first iteration': MARK in run.stdout,
    }[case]
    if not reached:
        said = run.stderr.strip().splitlines() or ['no message']
        raise InputError(f'{program.name}, {case}: {said[-1].removeprefix("error: ")}')
    return seconds


def measure(args: argparse.Namespace) -> dict[str, dict[str, list[Seconds]]]:
    """Return the runs of each program by case."""
    every = programs(args.libraries)
    runs = {case: {program.name: [] for program in every} for case in args.cases}
    with tempfile.TemporaryDirectory() as folder:
        write_data(Path(folder))
        for _ in range(args.repeats):
            for case in args.cases:
                for program in every:
                    taken = seconds_of(program, case, Path(folder), args.device)
                    runs[case][program.name].append(taken)
    return runs


def report(args: argparse.Namespace, runs: dict[str, dict[str, list[Seconds]]]) -> None:
    """Print and write the medians, and the medians of the ratios to the library's own tool."""
    rows, figures = [], []
    for case, taken in runs.items():
        for program in programs(args.libraries):
            own, theirs = taken[program.name], taken[program.library]
            ratio = statistics.median(
                one.processor / other.processor for one, other in zip(own, theirs, strict=True)
            )
            wall, used = (statistics.median(values) for values in zip(*own, strict=True))
            figures.append(
                dict(case=case, program=program.name, processor=used, wall=wall, ratio=ratio)
            )
            row = [case, program.name, f'{used:.2f}', f'{wall:.2f}']
            rows.append([*row, f'{ratio:.2f} of {program.library}'])
    print_table(
        f'Seconds of the processor and by the clock, median of {args.repeats} interleaved runs, and the '
        f'median ratio of processor seconds; {hardware(args.device)}',
        ['case', 'program', 'processor', 'clock', 'ratio'],
        rows,
    )
    write_json(args.json, dict(medians=figures, runs=runs), args.device)


def measure_help(repeats: int, json: str | None) -> None:
    """Print and write the medians of every command's ``--help``."""
    runs: dict[str, list[Seconds]] = {name: [] for name in ('', *COMMANDS)}
    for name in repeats * list(runs):
        code = ['-m', 'mmmuse', name, '--help'] if name else ['-c', 'pass']
        seconds, finished = timed([sys.executable, *code])
        finished.check_returncode()
        runs[name].append(seconds)
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
    parser.add_argument('--cases', nargs='+', choices=CASES, default=list(CASES))
    parser.add_argument('--libraries', nargs='+', choices=list(CONFIGS), default=list(CONFIGS))
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
        else:
            report(args, measure(args))


if __name__ == '__main__':
    main()
