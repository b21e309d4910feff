import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.errors import InputError
from mmmuse.functional import pkd_loss

from .test_cwd import maps


@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 2**16))
def test_is_one_minus_pearsons_correlation_of_each_channel(images, channels, seed):
    feature, target = maps(seed, images, channels, 2, 3)
    correlations = [
        np.corrcoef(feature[:, c].flatten().numpy(), target[:, c].flatten().numpy())[0, 1]
        for c in range(channels)
    ]
    expected = sum(1 - r for r in correlations) / channels
    assert pkd_loss(feature, target).item() == pytest.approx(expected, abs=1e-5)


def test_scale_and_shift_of_a_channel_do_not_count():
    feature, target = maps(0, 2, 3, 4, 4)
    scale, shift = torch.tensor([0.1, 1.0, 20.0]).view(3, 1, 1), torch.randn(3, 1, 1)
    expected = pkd_loss(feature, target).item()
    assert pkd_loss(feature * scale + shift, target).item() == pytest.approx(expected, abs=1e-4)
    assert pkd_loss(target * scale + shift, target).item() == pytest.approx(0, abs=1e-4)
    assert pkd_loss(-target, target).item() == pytest.approx(2, abs=1e-4)


def test_gradient_is_that_of_finite_differences_and_the_target_has_none():
    feature, target = (x.requires_grad_() for x in maps(0, 2, 2, 2, 3))
    assert torch.autograd.gradcheck(lambda x: pkd_loss(x, target.detach()), (feature,))
    pkd_loss(feature, target).backward()
    assert target.grad is None


def test_a_constant_channel_has_a_finite_gradient():
    feature = torch.zeros(2, 1, 3, 3, requires_grad=True)
    loss = pkd_loss(feature, torch.randn(2, 1, 3, 3))
    loss.backward()
    assert loss.item() == pytest.approx(0.5, abs=1e-4)
    assert feature.grad.isfinite().all()


def test_a_channel_that_is_nearly_constant_counts_by_the_formula():
    feature, target = maps(0, 2, 1, 3, 3)
    feature = feature * 1e-7

    def standardised(values):
        centred = values.numpy() - values.numpy().mean()
        return centred / (np.sqrt((centred**2).mean()) + 1e-6)

    expected = ((standardised(feature) - standardised(target)) ** 2).mean() / 2
    assert pkd_loss(feature, target).item() == pytest.approx(expected, rel=1e-6)


def test_other_shapes_are_refused():
    with pytest.raises(InputError, match=r'pkd_loss needs two maps .* of one shape'):
        pkd_loss(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 5))
