import os
from pathlib import Path

import pytest
import torch

from mmmuse.errors import Stopped

from ..kills.comparison import differences
from ..kills.runs import start
from ..test_tools.test_train import free_port
from ..two_processes import start_two_processes
from .test_preemption import PREEMPTION, send_signal

pytestmark = pytest.mark.slow


def train_one_of_two(rank: int, port: int, folder: str, name: str, step: int) -> None:
    """Train as one of two processes, of which the second gets a signal in a step."""
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2')
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    hooks = [dict(type=PREEMPTION), *([send_signal(step=step)] if rank == 1 else [])]
    stopped = False
    try:
        start('processes', Path(folder), Path(folder) / name, custom_hooks=hooks)
    except Stopped:
        stopped = True
    assert stopped == (step > 0)


def test_all_processes_stop_when_one_gets_a_signal_and_go_on_as_if_they_had_not(tmp_path):
    for name, step in (('straight', 0), ('preempted', 2), ('preempted', 0)):
        start_two_processes(train_one_of_two, free_port(), str(tmp_path), name, step)
    assert differences(tmp_path / 'preempted', tmp_path / 'straight') == []
