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
