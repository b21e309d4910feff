"""What the libraries do again in each test and no test is about: done once, in part or not at all."""

import functools
import math
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import mmengine
import torch
from mmengine.config import Config
from mmengine.utils import get_git_hash
from mmengine.utils.dl_utils import collect_env
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
# Folders whose configs no test changes.
_UNCHANGED = (f'{ROOT / "configs"}{os.sep}', f'{Path(mmengine.__file__).parents[1]}{os.sep}')
_DRAWN = 100_003  # Values of a large weight; a prime, so that no two rows are equal.


@contextmanager
def done_once() -> Iterator[None]:
    """Replace these functions of the libraries for a while."""
    environment, version = collect_env(), get_git_hash()
    with (
        _no_seeds_for_gpus(),
        # The layout of a config's text, several times in a run. tests/test_tools/test_train.py has
        # runs in their own processes, with it.
        mock.patch('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True)),
        # The versions of compilers, drivers and of the working tree, from processes.
        mock.patch('mmengine.runner.runner.collect_env', return_value=environment),
        mock.patch('mmengine.runner.runner.get_git_hash', return_value=version),
        mock.patch('mmengine.hooks.runtime_info_hook.get_git_hash', return_value=version),
        # A garbage collection at each data set; Python's own ones go on.
        mock.patch('mmengine.dataset.base_dataset.gc', SimpleNamespace(collect=int)),
        mock.patch.object(Config, '_file2dict', staticmethod(_read_once(Config._file2dict))),
        mock.patch('torch.nn.init.kaiming_uniform_', _partly(nn.init.kaiming_uniform_, _uniform)),
        mock.patch('torch.nn.init.kaiming_normal_', _partly(nn.init.kaiming_normal_, _normal)),
    ):
        yield


@contextmanager
def _no_seeds_for_gpus() -> Iterator[None]:
    """Where there is no GPU, PyTorch keeps each seed, with the stack of its call, for a later one."""
    with ExitStack() as stack:
        for name in ('cuda', 'xpu', 'mtia') if not torch.cuda.is_available() else ():
            if hasattr(getattr(torch, name, None), 'manual_seed_all'):
                stack.enter_context(mock.patch(f'torch.{name}.manual_seed_all', return_value=None))
        yield


def _read_once(read: Callable) -> Callable:
    """Read each unchanged config file once, as bases of others are; return a copy of what was read."""
    known: dict[tuple, bytes] = {}

    @functools.wraps(read)
    def read_once(filename: str, *args: Any, **kwargs: Any) -> tuple[dict, str, dict]:
        path = os.path.abspath(filename)
        key = (path, args, tuple(sorted(kwargs.items())))
        if key in known:
            return pickle.loads(known[key])
        found = read(filename, *args, **kwargs)
        if path.startswith(_UNCHANGED) and not found[2]:  # No variables of the environment.
            with suppress(pickle.PicklingError, AttributeError, TypeError):
                known[key] = pickle.dumps(found)
        return found

    return read_once


def _partly(draw: Callable, draw_some: Callable) -> Callable:
    """Draw some values of a large weight, and repeat them."""

    @functools.wraps(draw)
    def partly(
        tensor: Tensor,
        a: float = 0,
        mode: str = 'fan_in',
        nonlinearity: str = 'leaky_relu',
        **options: Any,
    ) -> Tensor:
        if tensor.numel() <= _DRAWN or not tensor.is_contiguous() or tensor.is_meta or options:
            return draw(tensor, a, mode, nonlinearity, **options)
        fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(tensor)
        fan = fan_in if mode == 'fan_in' else fan_out
        values = draw_some(nn.init.calculate_gain(nonlinearity, a) / math.sqrt(fan))
        with torch.no_grad():
            for part in tensor.view(-1).split(_DRAWN):
                part.copy_(values[: len(part)])
        return tensor

    return partly


def _uniform(deviation: float) -> Tensor:
    return torch.empty(_DRAWN).uniform_(-math.sqrt(3) * deviation, math.sqrt(3) * deviation)


def _normal(deviation: float) -> Tensor:
    return torch.empty(_DRAWN).normal_(0, deviation)
