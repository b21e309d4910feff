"""The device of a benchmark: checked before anything is built, and waited for where time is taken."""

import argparse

import torch
from mmengine import device as mmengine_device

from mmmuse.errors import InputError


def add_device_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``, the CPU by default."""
    parser.add_argument('--device', default='cpu', help='cpu, cuda or cuda:INDEX')


def check_device(name: str) -> None:
    """Check that a device exists.

    Raises:
        InputError: If it is neither the CPU nor a GPU of this machine.
    """
    kind, _, index = name.partition(':')
    if name == 'cpu':
        return
    if kind != 'cuda' or (index and not index.isdigit()) or name.endswith(':'):
        raise InputError(f'--device is cpu, cuda or cuda:INDEX, got {name}')
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(index or 0) >= count:
        raise InputError(f'--device {name} does not exist; this machine has {count} GPUs')


def synchronize(name: str) -> None:
    """Wait until a device has done its work; that of a CPU is done when a call returns."""
    if name.startswith('cuda'):
        torch.cuda.synchronize(name)


def use_in_runners(name: str) -> None:
    """Let MMEngine's runners train on a device, where they would take the first GPU.

    For the process of a benchmark, before it builds a runner.
    """
    if name.startswith('cuda'):
        torch.cuda.set_device(name)
    mmengine_device.utils.DEVICE = name.partition(':')[0]
