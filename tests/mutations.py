"""Mutate configs, train each for an epoch as ``tools/train.py`` does, and report what became of them.

    python -m tests.mutations --count 300 --seed 0

A mutated config is refused in one line, accepted (it trains and evaluates), or ends in a traceback,
which is a bug.
"""

import argparse
import contextlib
import io
import json
import math
import random
import resource
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from mmengine.visualization import Visualizer
from mmpretrain.registry import MODELS
from PIL import Image

from tests.mutated_configs import NETWORK, small_configs
from tests.test_tools.conftest import run_command

HUGE = 10**15
VALUES = (
    *('0.03', '', 'abc', True, False, None, -1, 0, 1, 2, 5, 1.5, 0.5, -0.5, HUGE, -HUGE, 1e15),
    *(math.nan, math.inf, [], {}, [-1], [None], ['a'], [1, 2, 3, 4, 5, 6], {'a': 1}),
)
DELETE = object()
_SECONDS = 60  # A run that takes longer hangs.
_MEMORY = 16 * 2**30


@dataclass
class Outcome:
    """What became of a mutated config.

    Attributes:
        config: Name of the config.
        path: Keys and indices of the place that was changed.
        value: What stands there now.
        kind: ``refused``, ``accepted``, ``traceback`` or ``hangs``.
        said: The line, or the error.
    """

    config: str
    path: tuple
    value: Any
    kind: str
    said: str = ''

    def __str__(self) -> str:
        place = '.'.join(map(str, self.path))
        value = 'deleted' if self.value is DELETE else repr(self.value)[:60]
        return f'{self.kind:9} {self.config:9} {place} = {value}  {self.said}'


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yield the path of every value in a tree of dicts and lists."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, (list, tuple)) else items
    for key, item in items:
        yield from places(item, (*path, key))


def parts(value: Any) -> list[dict]:
    """Return the dicts in a tree that have a type, each once."""
    items = value.values() if isinstance(value, dict) else ()
    items = value if isinstance(value, (list, tuple)) else items
    inside = [part for item in items for part in parts(item)]
    return [*([value] if isinstance(value, dict) and 'type' in value else []), *inside]


def types(config: dict) -> list[str]:
    """Return the types of all parts of a config, in alphabetical order."""
    return sorted({str(part['type']) for part in parts(config)})


def mutated(config: dict, path: tuple, value: Any) -> dict:
    """Return a copy of a config with another value at a path, or without that key."""
    config = deepcopy(config)
    parent = config
    for key in path[:-1]:
        parent[key] = list(parent[key]) if isinstance(parent[key], tuple) else parent[key]
        parent = parent[key]
    if value is DELETE:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return config


def draw(generator: random.Random, config: dict) -> tuple[tuple, Any]:
    """Draw a place in a config, those of the model twice as often, and what it becomes."""
    paths = list(places(config))
    path = generator.choice(paths + [path for path in paths if path[0] == 'model'])
    old: Any = config
    for key in path:
        old = old[key]
    values: list = [value for value in VALUES if repr(value) != repr(old)]
    if path[-1] == 'type':
        values += 2 * types(config)
    elif isinstance(old, dict):
        values += [part for part in parts(config) if part != old]
    if isinstance(old, (list, tuple)) and len(old):
        values += 3 * [list(old)[:-1], [*old, old[-1]]]
    if isinstance(old, (int, float)) and not isinstance(old, bool):
        values += 3 * [-old, str(old)]
    values = [value for value in values if repr(value) != repr(old)]
    return path, generator.choice([*values, DELETE, DELETE])


def configs(folder: Path) -> dict[str, dict]:
    """Return the configs that are mutated, and write the files that they name."""
    _write_images(folder)
    torch.manual_seed(0)
    network = MODELS.build(deepcopy(NETWORK))
    torch.save(dict(state_dict=network.state_dict(), meta={}), folder / 'teacher.pth')
    return deepcopy(small_configs(str(folder)))


def _write_images(folder: Path) -> None:
    images, boxes = [], []
    for i in range(2):
        Image.new('RGB', (64, 64), (90 * i, 60, 120)).save(folder / f'{i}.png')
        images.append(dict(id=i, file_name=f'{i}.png', width=64, height=64))
        box = dict(bbox=[8, 8, 30, 40], area=1200, iscrowd=0, category_id=1)
        boxes.append(dict(box, id=i + 1, image_id=i))
    coco = dict(images=images, annotations=boxes, categories=[dict(id=1, name='cell')])
    (folder / 'boxes.json').write_text(json.dumps(coco))


class _Trained(BaseException):
    """Ends a run after its first epoch, however many the config asks for."""


def run(name: str, config: dict, path: tuple, value: Any, folder: Path) -> Outcome:
    """Train a config for an epoch, by the command itself, and return what became of it."""
    shutil.rmtree(folder / 'run', ignore_errors=True)
    Visualizer._instance_dict.clear()
    file = folder / 'config.py'
    file.write_text(
        'nan, inf = float("nan"), float("inf")\n'
        + ''.join(f'{key} = {item!r}\n' for key, item in config.items())
        + 'del nan, inf\n'
    )
    err = io.StringIO()
    try:
        with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
            code = run_command('train.py', file, '--work-dir', folder / 'run')
    except _Trained:
        return Outcome(name, path, value, 'accepted')
    except TimeoutError as error:
        return Outcome(name, path, value, 'hangs', repr(error))
    except Exception as error:
        return Outcome(name, path, value, 'traceback', f'{type(error).__name__}: {error}')
    lines = [line for line in err.getvalue().splitlines() if line.startswith('error: ')]
    if code == 0:
        return Outcome(name, path, value, 'accepted')
    assert len(lines) == 1, err.getvalue()
    assert 'Traceback' not in err.getvalue()
    return Outcome(name, path, value, 'refused', lines[0])


def _stop(*_: Any) -> None:
    raise TimeoutError(f'not done after {_SECONDS} s')


def _stop_before_second_epoch(hook: Any, runner: Any) -> None:
    if runner.epoch > 0:
        raise _Trained


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Limit time and memory, and leave out what takes long and is not tried here."""
    figure = Visualizer._initialize_fig(None, {})
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, hard))
    before = signal.signal(signal.SIGALRM, _stop)
    try:
        with (
            mock.patch('mmengine.runner.runner.collect_env', dict),
            mock.patch('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True)),
            mock.patch.object(Visualizer, '_initialize_fig', return_value=figure),
            mock.patch(
                'mmmuse.command_line.run._Steps.before_train_epoch', _stop_before_second_epoch
            ),
        ):
            yield
    finally:
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def mutate(count: int, seed: int, folder: Path) -> Iterator[Outcome]:
    """Yield the outcomes of ``count`` mutations, the same ones for a seed."""
    generator = random.Random(seed)
    originals = configs(folder)
    with limited():
        for name, config in originals.items():
            outcome = run(name, config, (), None, folder)
            assert outcome.kind == 'accepted', outcome
        for i in range(count):
            name = list(originals)[i % len(originals)]
            path, value = draw(generator, originals[name])
            signal.alarm(_SECONDS)
            try:
                yield run(name, mutated(originals[name], path, value), path, value, folder)
            finally:
                signal.alarm(0)


def main() -> None:
    """Print each outcome and their numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--count', type=int, default=300)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    found: Counter[str] = Counter()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for i, outcome in enumerate(mutate(args.count, args.seed, Path(folder)), 1):
            found[outcome.kind] += 1
            print(f'{i:4} {time.monotonic() - start:6.1f} s  {outcome}', flush=True)
    print(dict(found), f'{time.monotonic() - start:.0f} s')


if __name__ == '__main__':
    main()
