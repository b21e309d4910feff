from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper

from ..conftest import labelled, small_distiller


def train_two_steps(rank: int, folder: str) -> None:
    """One of two processes; defined at top level so that it can be spawned."""
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2
    )
    torch.manual_seed(rank)  # DDP has to bring the weights of rank 0 to rank 1.
    model = MMDistributedDataParallel(small_distiller(), device_ids=None)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9))
    start = model.module.student.head.fc.weight.detach().clone()
    for _ in range(2):  # The second step is what an unused parameter would stop.
        data = dict(inputs=torch.randn(4, 3, 16, 16), data_samples=labelled([0, 1, 2, 3]))
        model.train_step(data, wrapper)
    assert not torch.equal(start, model.module.student.head.fc.weight)
    torch.save(dict(model.module.named_parameters()), f'{folder}/rank{rank}.pt')
    dist.destroy_process_group()


def test_two_processes_stay_equal_without_searching_for_unused_parameters(tmp_path: Path):
    mp.spawn(train_two_steps, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f'rank{rank}.pt') for rank in (0, 1))
    assert first.keys() == second.keys()
    assert any('mi_critics' in name for name in first)
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
