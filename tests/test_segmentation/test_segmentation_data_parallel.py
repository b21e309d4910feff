from pathlib import Path

import pytest
import torch

pytest.importorskip('mmseg')

from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope

from ..two_processes import PROCESSES, in_two_processes
from .segmenters import batch, distilled, segmenter_config, without_gradient

pytestmark = pytest.mark.slow


def train_each(rank: int, folder: str) -> None:
    """One of two processes, with images of its own."""
    torch.manual_seed(rank)  # DDP has to bring the weights of rank 0 to rank 1.
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MMDistributedDataParallel(distilled('segformer'), device_ids=None)
    distiller = model.module
    data = batch(distiller)
    data['inputs'] = data['inputs'] + 0.1 * torch.rand_like(data['inputs'])
    losses = model(**data, mode='loss')
    distiller.parse_losses(losses)[0].backward()
    result = dict(
        loss=losses['exit1.loss_ce'].detach(),
        without_gradient=sorted(without_gradient(distiller)),
        gradients={name: value.grad.clone() for name, value in distiller.named_parameters()},
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    optimizer.step()
    optimizer.zero_grad()
    # The second step is what an unused parameter would stop.
    raw = dict(inputs=list(torch.rand(2, 3, 64, 64) * 255), data_samples=data['data_samples'])
    model.train_step(raw, OptimWrapper(optimizer))
    result['weights'] = dict(distiller.named_parameters())
    torch.save(result, f'{folder}/{rank}.pt')


def test_two_processes_train_a_segmenter_with_exits(tmp_path: Path):
    # Kept for the forks: in one, Python 3.11.7 may fail to parse a config (AST constructor recursion depth).
    segmenter_config('segformer')
    in_two_processes(train_each, tmp_path)
    first, second = (
        torch.load(tmp_path / f'{rank}.pt', weights_only=True) for rank in range(PROCESSES)
    )
    assert first['without_gradient'] == second['without_gradient'] == []
    assert first['loss'] != second['loss']
    for part in ('gradients', 'weights'):
        assert first[part].keys() == second[part].keys()
        for name, value in first[part].items():
            assert torch.equal(value, second[part][name]), f'{part}: {name}'
