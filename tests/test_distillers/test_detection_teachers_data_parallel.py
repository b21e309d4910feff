from pathlib import Path

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper

from ..two_processes import in_two_processes
from .detectors import batch, detector, taught

pytestmark = pytest.mark.slow

LOSSES = [
    dict(type='mmmuse.PKDLoss'),
    dict(type='mmmuse.MGDLoss'),
    dict(type='mmmuse.LDLoss'),
    dict(type='mmmuse.CrossKDLoss'),
]


def train_two_steps(rank: int, folder: str) -> None:
    """One of two processes, each with images of its own."""
    torch.manual_seed(rank)  # DDP has to bring the weights of rank 0 to rank 1.
    distiller = taught(*LOSSES, teacher=detector(width=24))
    model = MMDistributedDataParallel(distiller, device_ids=None)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9))
    for _ in range(2):  # The second step is what an unused parameter would stop.
        data = batch(distiller)
        data['inputs'] = data['inputs'] + rank
        # A process may have no object, and so no positive box.
        if rank == 1:
            for sample in data['data_samples']:
                sample.gt_instances = sample.gt_instances[:0]
        with wrapper.optim_context(model):
            losses = model(**data, mode='loss')
        total, _ = distiller.parse_losses(losses)
        wrapper.update_params(total)
    torch.save(dict(distiller.named_parameters()), f'{folder}/{rank}.pt')


def test_two_processes_stay_equal_without_searching_for_unused_parameters(tmp_path: Path):
    in_two_processes(train_two_steps, tmp_path)
    first, second = (torch.load(tmp_path / f'{rank}.pt') for rank in (0, 1))
    assert any('generators' in name for name in first)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert value.isfinite().all(), name
        assert torch.equal(value, second[name]), name
