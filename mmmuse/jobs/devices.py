"""The devices of this machine, one run at a time on each slot."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import torch

from mmmuse.errors import InputError

# The least that a training takes: the libraries and a small network in the memory of the machine (0.54 GiB
# were measured, without what processes share), the context of CUDA in that of a GPU.
_LEAST_GIB = 0.5


def check_devices(devices: Sequence[str] | None) -> list[str]:
    """Return the devices to run on, by default every GPU, or else the CPU.

    Args:
        devices: ``'cpu'``, ``'cuda:0'``, ...; one given twice has two runs at a time.

    Raises:
        InputError: If a device does not exist, or has too little memory for its slots.
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
    for device in dict.fromkeys(devices):
        _check_memory(device, devices.count(device))
    return devices


def _check_memory(device: str, slots: int) -> None:
    """Refuse slots that no training fits into, however small its network."""
    memory = memory_gib(device)
    if memory is not None and slots * _LEAST_GIB > memory:
        raise InputError(
            f'{device} is given {slots} times and has {memory:.1f} GiB of memory: a run takes at least '
            f'{_LEAST_GIB} GiB, so {_advice(int(memory / _LEAST_GIB))}'
        )


def _advice(fitting: int) -> str:
    return f'give it at most {fitting} times' if fitting else 'no run fits'


def memory_gib(device: str) -> float | None:
    """Return the memory of a device, of the CPU what is available now; None if it is not known."""
    if device != 'cpu':
        return torch.cuda.get_device_properties(device).total_memory / 2**30
    limits = []
    system = Path('/proc/meminfo')
    if system.is_file():
        found = re.search(r'MemAvailable: +(\d+) kB', system.read_text(encoding='utf-8'))
        limits += [int(found[1]) / 2**20] if found else []
    group = Path('/sys/fs/cgroup/memory.max')  # Of a container.
    if group.is_file() and (text := group.read_text(encoding='utf-8').strip()).isdigit():
        limits.append(int(text) / 2**30)
    return min(limits, default=None)


def environment(device: str, devices: Sequence[str]) -> dict[str, str]:
    """Return the variables of a run that sees one device, or its share of the processor.

    ``OMP_NUM_THREADS`` stays as it is where it is set, for instance on a machine that does other work too.
    """
    if device == 'cpu':
        cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
        share = str(max(cores // list(devices).count('cpu'), 1))
        threads = os.environ.get('OMP_NUM_THREADS') or share
        return {'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': threads}
    number = int(device.partition(':')[2])
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')  # Device numbers count the visible GPUs.
    shown = visible.split(',')[number].strip() if visible else str(number)
    return {'CUDA_VISIBLE_DEVICES': shown}
