from itertools import product
from pathlib import Path

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper

from mmmuse.optim import BFloat16OptimWrapper

from ..two_processes import in_two_processes
from .rivals import RIVALS, batch, rival

pytestmark = pytest.mark.slow

# Alone in float32, with MUSE in bfloat16.
WRAPPERS = {False: OptimWrapper, True: BFloat16OptimWrapper}


def train_each_rival(rank: int, folder: str) -> None:
    """One of two processes."""
    hub = MessageHub.get_instance('rivals')
    hub.update_info_dict(dict(epoch=1, max_epochs=4, iter=5, max_iters=16))
    for name in RIVALS:
        for with_muse in WRAPPERS:
            train_two_steps(rank, name, with_muse, folder)


def train_two_steps(rank: int, name: str, with_muse: bool, folder: str) -> None:
    torch.manual_seed(rank)  # DDP has to bring the weights of rank 0 to rank 1.
    model = MMDistributedDataParallel(rival(name, with_muse), device_ids=None)
    wrapper = WRAPPERS[with_muse](torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9))
    start = model.module.student.head.fc.weight.detach().clone()
    for _ in range(2):  # The second step is what an unused parameter would stop.
        images, samples = batch(name)
        model.train_step(dict(inputs=images, data_samples=samples), wrapper)
    assert not torch.equal(start, model.module.student.head.fc.weight)
    torch.save(dict(model.module.named_parameters()), f'{folder}/{name}{with_muse}{rank}.pt')


def test_two_processes_stay_equal_without_searching_for_unused_parameters(tmp_path: Path):
    in_two_processes(train_each_rival, tmp_path)
    for name, with_muse in product(RIVALS, WRAPPERS):
        first, second = (torch.load(tmp_path / f'{name}{with_muse}{rank}.pt') for rank in (0, 1))
        assert with_muse == any('mi_critics' in key for key in first)
        assert first.keys() == second.keys()
        for key, value in first.items():
            assert torch.equal(value, second[key]), f'{name}, MUSE {with_muse}: {key}'
