from pathlib import Path

import pytest
import torch
from mmengine.dist import all_reduce_params
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper

from mmmuse.distillers import SelfDistiller
from mmmuse.heads.variants import variant_head

from ..conftest import labelled, small_distiller
from ..two_processes import in_two_processes

pytestmark = pytest.mark.slow


def distiller() -> SelfDistiller:
    """The small one, with an estimator that has buffers."""
    head = variant_head('mi_x_si')
    head['discrepancy'].update(
        critic=dict(hidden_channels=16), estimator=dict(type='mmmuse.DonskerVaradhan')
    )
    return small_distiller(head=head)


def one_process(rank: int, folder: str) -> None:
    """One of two processes."""
    torch.manual_seed(rank)
    for broadcast_buffers in (False, True):  # MMEngine's default, and torch's.
        record = train_two_steps(broadcast_buffers)
        torch.save(record, f'{folder}/rank{rank}_{broadcast_buffers}.pt')


def train_two_steps(broadcast_buffers: bool) -> dict:
    model = MMDistributedDataParallel(
        distiller(), device_ids=None, broadcast_buffers=broadcast_buffers
    )
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.05))
    for _ in range(2):
        data = dict(inputs=torch.randn(4, 3, 16, 16), data_samples=labelled([0, 1, 2, 3]))
        model.train_step(data, wrapper)
    own = {name: value.clone() for name, value in averages(model.module).items()}
    all_reduce_params(model.buffers(), op='mean')  # MMEngine's at the end of an epoch.
    return dict(
        parameters=dict(model.module.named_parameters()), own=own, reduced=averages(model.module)
    )


def averages(model: SelfDistiller) -> dict[str, torch.Tensor]:
    return {name: value for name, value in model.named_buffers() if '_estimators.' in name}


def test_two_processes_train_one_network_and_end_an_epoch_with_one_average(tmp_path: Path):
    in_two_processes(one_process, tmp_path)
    for broadcast_buffers in (False, True):
        first, second = (
            torch.load(tmp_path / f'rank{rank}_{broadcast_buffers}.pt') for rank in (0, 1)
        )
        for name, value in first['parameters'].items():
            assert torch.equal(value, second['parameters'][name]), name
        assert len(first['own']) == 2 * 3 * 2  # MI and SI of three modules, two buffers each.
        for name, value in first['own'].items():
            reduced = first['reduced'][name]
            assert torch.equal(reduced, second['reduced'][name])
            if name.endswith('num_batches'):
                assert value == reduced == 2
            else:
                assert value != second['own'][name]
                torch.testing.assert_close(reduced, (value + second['own'][name]) / 2)
