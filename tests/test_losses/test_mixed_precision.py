import pytest
import torch

from ..conftest import labelled, small_distiller


@pytest.mark.parametrize('variant', ['l2_ce', 'mmd_ce', 'adversarial_ce', 'vid_ce'])
def test_a_discrepancy_is_float32_under_autocast_and_near_the_full_precision(variant):
    distiller = small_distiller(variant).train()
    images, samples = torch.randn(4, 3, 16, 16), labelled([0, 1, 2, 3])
    full = distiller(images, samples, mode='loss')
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = distiller(images, samples, mode='loss')
    assert full.keys() == half.keys()
    (name,) = (name for name in half if name.startswith('loss_') and name != 'loss_student')
    assert half[name].dtype == torch.float32
    assert torch.isclose(half[name], full[name], rtol=0.1, atol=1e-6)
    total, _ = distiller.parse_losses(half)
    total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in distiller.parameters())


@pytest.mark.parametrize('variant', ['mi_x_si', 'l2_ce', 'mmd_ce', 'adversarial_ce', 'vid_ce'])
def test_a_model_in_pure_bfloat16_trains_with_losses_in_float32(variant):
    distiller = small_distiller(variant).train().bfloat16()
    images, samples = torch.randn(4, 3, 16, 16).bfloat16(), labelled([0, 1, 2, 3])
    losses = distiller(images, samples, mode='loss')
    name = next(name for name in losses if name.startswith('loss_') and name != 'loss_student')
    assert losses[name].dtype == torch.float32
    distiller.parse_losses(losses)[0].backward()
    for name, parameter in distiller.named_parameters():
        assert parameter.grad.dtype == torch.bfloat16, name
        assert parameter.grad.isfinite().all(), name
