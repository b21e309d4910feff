from pathlib import Path

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope

from ..two_processes import PROCESSES, in_two_processes
from .test_detection_exit import batch, with_exits, without_gradient

pytestmark = pytest.mark.slow

IMAGES = 2  # Of each process.
LOSSES = [
    f'{part}{name}' for part in ('', 'exit1.') for name in ('loss_bbox', 'loss_cls', 'loss_obj')
]


def train_each(rank: int, folder: str) -> None:
    """One of two processes, with images of its own."""
    torch.manual_seed(rank)  # DDP has to bring the weights of rank 0 to rank 1.
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MMDistributedDataParallel(with_exits('yolov5_s'), device_ids=None)
    distiller = model.module
    data = batch(distiller, True)
    data['inputs'] = data['inputs'] + 0.1 * torch.rand_like(data['inputs'])
    losses = model(**data, mode='loss')
    heads = [distiller.student.bbox_head, distiller.exits[0].predictor]
    with torch.no_grad():
        for head in heads:
            head.scale_by_batch = False
        of_an_image = distiller(**data, mode='loss')
        for head in heads:
            head.scale_by_batch = True
    distiller.parse_losses(losses)[0].backward()
    result = dict(
        losses={name: losses[name].detach() for name in LOSSES},
        of_an_image={name: of_an_image[name] for name in LOSSES},
        without_gradient=sorted(without_gradient(distiller)),
        gradients={name: value.grad.clone() for name, value in distiller.named_parameters()},
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    optimizer.step()
    optimizer.zero_grad()
    # The second step is what an unused parameter would stop.
    raw = dict(inputs=list(torch.rand(IMAGES, 3, 64, 64) * 255), data_samples=data['data_samples'])
    model.train_step(raw, OptimWrapper(optimizer))
    result['weights'] = dict(distiller.named_parameters())
    torch.save(result, f'{folder}/{rank}.pt')


def test_two_processes_train_a_detector_with_an_exit(tmp_path: Path):
    in_two_processes(train_each, tmp_path)
    first, second = (
        torch.load(tmp_path / f'{rank}.pt', weights_only=True) for rank in range(PROCESSES)
    )
    for result in (first, second):
        assert result['without_gradient'] == []
        for name, loss in result['losses'].items():
            torch.testing.assert_close(loss, IMAGES * PROCESSES * result['of_an_image'][name])
    assert first['losses'] != second['losses']
    for part in ('gradients', 'weights'):
        assert first[part].keys() == second[part].keys()
        for name, value in first[part].items():
            assert torch.equal(value, second[part][name]), f'{part}: {name}'
