from pathlib import Path

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper

from ..conftest import labelled, small_distiller
from ..two_processes import in_two_processes

pytestmark = pytest.mark.slow

VARIANTS = ('mi_x_si', 'mmd_ce', 'adversarial_ce', 'vid_ce')


def train_each_variant(rank: int, folder: str) -> None:
    """One of two processes."""
    for variant in VARIANTS:
        train_two_steps(rank, variant, folder)


def train_two_steps(rank: int, variant: str, folder: str) -> None:
    torch.manual_seed(rank)  # DDP has to bring the weights of rank 0 to rank 1.
    model = MMDistributedDataParallel(small_distiller(variant), device_ids=None)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9))
    start = model.module.student.head.fc.weight.detach().clone()
    for _ in range(2):  # The second step is what an unused parameter would stop.
        data = dict(inputs=torch.randn(4, 3, 16, 16), data_samples=labelled([0, 1, 2, 3]))
        model.train_step(data, wrapper)
    assert not torch.equal(start, model.module.student.head.fc.weight)
    torch.save(dict(model.module.named_parameters()), f'{folder}/{variant}{rank}.pt')


def test_two_processes_stay_equal_without_searching_for_unused_parameters(tmp_path: Path):
    in_two_processes(train_each_variant, tmp_path)
    added = dict(zip(VARIANTS, ('mi_critics', 'exits', 'discriminators', 'raw_variances')))
    for variant in VARIANTS:
        first, second = (torch.load(tmp_path / f'{variant}{rank}.pt') for rank in (0, 1))
        assert first.keys() == second.keys()
        assert any(added[variant] in name for name in first)
        for name, value in first.items():
            assert torch.equal(value, second[name]), f'{variant}: {name}'
