from pathlib import Path

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper

from ..conftest import labelled
from ..two_processes import in_two_processes
from .transfer import LABELS, features, offline, online

pytestmark = pytest.mark.slow

BUILD = {'offline': offline, 'online': online, 'features': features}


def train_each(rank: int, folder: str) -> None:
    """One of two processes."""
    for name in BUILD:
        train_two_steps(rank, name, folder)


def train_two_steps(rank: int, name: str, folder: str) -> None:
    torch.manual_seed(rank)  # DDP has to bring the weights of rank 0 to rank 1.
    distiller = BUILD[name]()
    taught = dict(distiller.teacher.model.named_parameters()) if name != 'online' else {}
    model = MMDistributedDataParallel(distiller, device_ids=None)
    in_buckets = {id(value) for value in model.parameters()}
    assert not in_buckets & {id(value) for value in taught.values()}
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9))
    for step in range(2):  # The second step is what an unused parameter would stop.
        indices = [4 * step + 2 * rank, 4 * step + 2 * rank + 1]
        samples = labelled(LABELS[indices])
        for index, sample in zip(indices, samples):
            sample.set_metainfo(dict(sample_idx=index))
        model.train_step(dict(inputs=torch.randn(2, 3, 16, 16), data_samples=samples), wrapper)
    state = dict(model.module.named_parameters())
    state.update({key: value for key, value in model.module.named_buffers() if 'memory' in key})
    torch.save(state, f'{folder}/{name}{rank}.pt')


def test_two_processes_stay_equal_without_searching_for_unused_parameters(tmp_path: Path):
    in_two_processes(train_each, tmp_path)
    for name in BUILD:
        first, second = (torch.load(tmp_path / f'{name}{rank}.pt') for rank in (0, 1))
        assert any('memory_teacher' in key for key in first) == (name != 'features')
        assert first.keys() == second.keys()
        for key, value in first.items():
            assert torch.equal(value, second[key]), f'{name}: {key}'
