"""Runs a function in two processes."""

from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from mmmuse.command_line.run import end_process_group

PROCESSES = 2


def start_two_processes(function: Callable[..., None], *args: object) -> None:
    """Call ``function(rank, *args)`` in each of two processes, and wait for both.

    The processes are forked from the one of the tests, which has imported torch and OpenMMLab.
    """
    mp.start_processes(function, args, nprocs=PROCESSES, start_method='fork')


def in_two_processes(function: Callable[[int, str], None], folder: Path) -> None:
    """Call ``function(rank, folder)`` in each process of a group that gloo connects."""
    start_two_processes(_in_a_group, function, str(folder))


def _in_a_group(rank: int, function: Callable[[int, str], None], folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=PROCESSES
    )
    function(rank, folder)
    end_process_group()
