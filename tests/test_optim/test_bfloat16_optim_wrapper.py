import pytest
import torch
from torch import nn

from mmmuse.optim import BFloat16OptimWrapper
from mmmuse.registry import OPTIM_WRAPPERS

from ..conftest import labelled, small_distiller


@pytest.mark.parametrize('variant', ['mi_x_si', 'byot'])
def test_trains_a_step_with_finite_float32_information_terms(variant):
    distiller = small_distiller(variant)
    wrapper = BFloat16OptimWrapper(torch.optim.SGD(distiller.parameters(), lr=0.1))
    seen = {}
    parse_losses = distiller.parse_losses

    def observed(losses):
        seen.update(losses)
        return parse_losses(losses)

    distiller.parse_losses = observed
    before = {name: value.detach().clone() for name, value in distiller.named_parameters()}
    log = distiller.train_step(
        dict(inputs=torch.randn(4, 3, 32, 32), data_samples=labelled([0, 1, 2, 3])), wrapper
    )
    for name, value in seen.items():
        assert value.dtype == torch.float32, name
        assert value.isfinite(), name
    assert log['loss'].isfinite()
    if variant == 'mi_x_si':
        assert {f'{name}_loss_{i}' for name in ('mi', 'si') for i in (1, 2, 3)} < set(seen)
    for name, parameter in distiller.named_parameters():
        assert parameter.dtype == torch.float32, name
        assert parameter.isfinite().all(), name
    for name in ('student.backbone.conv1.weight', 'muse.exits.0.fc.weight'):
        assert not torch.equal(before[name], distiller.get_parameter(name))


def test_the_forward_runs_in_bfloat16_and_what_follows_does_not():
    model = nn.Linear(2, 2)
    wrapper = OPTIM_WRAPPERS.build(
        dict(type='mmmuse.BFloat16OptimWrapper', optimizer=torch.optim.SGD(model.parameters(), 0.1))
    )
    with wrapper.optim_context(model):
        assert model(torch.zeros(1, 2)).dtype == torch.bfloat16
    assert model(torch.zeros(1, 2)).dtype == torch.float32
