"""The six segmenters in one pair of processes, one after the other."""

from pathlib import Path

import pytest
import torch

pytest.importorskip('mmseg')

from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope

from ..two_processes import PROCESSES, in_two_processes
from .segmenters import (
    SEGMENTERS,
    batch,
    distilled,
    segmenter_config,
    without_gradient,
)

pytestmark = pytest.mark.slow


def train_each(rank: int, folder: str) -> None:
    """One of two processes, with images of its own."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        for name in SEGMENTERS:
            torch.save(two_steps(rank, name), f'{folder}/{name}_{rank}.pt')


def two_steps(rank: int, name: str) -> dict:
    torch.manual_seed(rank)  # DDP has to bring the weights of rank 0 to rank 1.
    model = MMDistributedDataParallel(distilled(name), device_ids=None)
    distiller = model.module
    data = batch(distiller)
    data['inputs'] = data['inputs'] + 0.1 * torch.rand_like(data['inputs'])
    losses = model(**data, mode='loss')
    distiller.parse_losses(losses)[0].backward()
    result = dict(
        loss=losses['exit1.loss_ce'].detach(),
        without_gradient=sorted(without_gradient(distiller)),
        gradients={
            name: value.grad.clone()
            for name, value in distiller.named_parameters()
            if value.grad is not None
        },
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    optimizer.step()
    optimizer.zero_grad()
    # The second step is what an unused parameter would stop.
    raw = dict(inputs=list(torch.rand(2, 3, 64, 64) * 255), data_samples=data['data_samples'])
    model.train_step(raw, OptimWrapper(optimizer))
    result['weights'] = dict(distiller.named_parameters())
    return result


@pytest.fixture(scope='module')
def results(tmp_path_factory) -> Path:
    """A folder with what each process kept of each segmenter."""
    folder = tmp_path_factory.mktemp('two_processes')
    # Kept for the forks: in one, Python 3.11.7 may fail to parse a config (AST constructor recursion depth).
    for name in SEGMENTERS:
        segmenter_config(name)
    in_two_processes(train_each, folder)
    return folder


@pytest.mark.parametrize('name', SEGMENTERS)
def test_two_processes_train_a_segmenter_with_exits(results, name):
    first, second = (
        torch.load(results / f'{name}_{rank}.pt', weights_only=True) for rank in range(PROCESSES)
    )
    assert first['without_gradient'] == second['without_gradient'] == []
    assert first['loss'] != second['loss']
    for part in ('gradients', 'weights'):
        assert first[part].keys() == second[part].keys()
        for key, value in first[part].items():
            assert torch.equal(value, second[part][key]), f'{part}: {key}'
