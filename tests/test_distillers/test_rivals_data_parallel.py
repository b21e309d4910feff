from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.logging import MessageHub
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper

from .rivals import RIVALS, batch, rival

# With MUSE where the rival adds no parameters of its own.
WITH_MUSE = {'cs_kd', 'ps_kd', 'ddgsd'}


def train_each_rival(rank: int, folder: str) -> None:
    """One of two processes; defined at top level so that it can be spawned."""
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2
    )
    hub = MessageHub.get_instance('rivals')
    hub.update_info_dict(dict(epoch=1, max_epochs=4, iter=5, max_iters=16))
    for name in RIVALS:
        train_two_steps(rank, name, folder)
    dist.destroy_process_group()


def train_two_steps(rank: int, name: str, folder: str) -> None:
    torch.manual_seed(rank)  # DDP has to bring the weights of rank 0 to rank 1.
    model = MMDistributedDataParallel(rival(name, name in WITH_MUSE), device_ids=None)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9))
    start = model.module.student.head.fc.weight.detach().clone()
    for _ in range(2):  # The second step is what an unused parameter would stop.
        images, samples = batch(name)
        model.train_step(dict(inputs=images, data_samples=samples), wrapper)
    assert not torch.equal(start, model.module.student.head.fc.weight)
    torch.save(dict(model.module.named_parameters()), f'{folder}/{name}{rank}.pt')


def test_two_processes_stay_equal_without_searching_for_unused_parameters(tmp_path: Path):
    mp.spawn(train_each_rival, (str(tmp_path),), nprocs=2)
    for name in RIVALS:
        first, second = (torch.load(tmp_path / f'{name}{rank}.pt') for rank in (0, 1))
        assert first.keys() == second.keys()
        for key, value in first.items():
            assert torch.equal(value, second[key]), f'{name}: {key}'
