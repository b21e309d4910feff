import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.errors import InputError
from mmmuse.functional import vid_loss


def slow_vid(mean: list, variance: list, target: list) -> float:
    terms = []
    for mean_map, target_map in zip(mean, target):
        for mu_channel, t_channel, var in zip(mean_map, target_map, variance):
            for mu_row, t_row in zip(mu_channel, t_channel):
                for mu, t in zip(mu_row, t_row):
                    terms.append(0.5 * ((mu - t) ** 2 / var + math.log(var)))
    return sum(terms) / len(terms)


def random_case(seed: int, num_images: int, channels: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    shape = (2, num_images, channels, 2, 3)
    mean, target = torch.randn(*shape, dtype=torch.float64, generator=generator)
    variance = torch.rand(channels, dtype=torch.float64, generator=generator) + 0.1
    return mean, variance, target


@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 2**16))
def test_equals_a_slow_loop_over_the_formula(num_images, channels, seed):
    case = random_case(seed, num_images, channels)
    slow = slow_vid(*(tensor.tolist() for tensor in case))
    assert math.isclose(vid_loss(*case).item(), slow, rel_tol=1e-12, abs_tol=1e-15)


def test_is_a_gaussians_negative_log_likelihood_without_its_constant():
    mean, variance, target = random_case(0, 2, 3)
    gaussian = torch.distributions.Normal(mean, variance.sqrt()[:, None, None])
    expected = -gaussian.log_prob(target).mean() - 0.5 * math.log(2 * math.pi)
    assert torch.isclose(vid_loss(mean, variance, target), expected)


def test_gradients_are_those_of_finite_differences():
    case = tuple(tensor.requires_grad_() for tensor in random_case(0, 2, 2))
    assert torch.autograd.gradcheck(vid_loss, case)


def test_half_precision_maps_are_computed_in_float32():
    mean, variance, target = random_case(0, 4, 8)
    mean, target = mean.bfloat16(), target.bfloat16()
    loss = vid_loss(mean, variance.float(), target)
    assert loss.dtype == torch.float32
    slow = slow_vid(mean.double().tolist(), variance.float().tolist(), target.double().tolist())
    assert math.isclose(loss.item(), slow, rel_tol=1e-5)


@pytest.mark.parametrize(
    ('mean', 'variance', 'target', 'message'),
    [
        ((2, 3), (3,), (2, 3), r'needs maps .* got \(2, 3\)'),
        ((2, 3, 4, 4), (3,), (2, 3, 2, 2), r'got \(2, 3, 4, 4\) and \(2, 3, 2, 2\)'),
        ((2, 3, 4, 4), (4,), (2, 3, 4, 4), r'each of 3 channels, got shape \(4,\)'),
    ],
)
def test_shapes_that_do_not_fit_are_refused(mean, variance, target, message):
    with pytest.raises(InputError, match=message):
        vid_loss(torch.zeros(mean), torch.ones(variance), torch.zeros(target))
