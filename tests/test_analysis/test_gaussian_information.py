import math

import pytest
import torch

from mmmuse.analysis.gaussian_information import (
    draw_gaussians,
    estimate_gaussian_information,
    gaussian_information,
)
from mmmuse.errors import InputError
from mmmuse.estimators import NWJ, DonskerVaradhan, InfoNCE, JensenShannon

SHORT = dict(rho=0.8, dim=1, steps=150, batch_size=64, hidden_channels=24)


def test_the_analytic_value_is_that_of_the_covariances_determinant():
    rho, dim = 0.7, 3
    covariance = torch.eye(2 * dim, dtype=torch.float64)
    covariance[range(dim), range(dim, 2 * dim)] = rho
    covariance[range(dim, 2 * dim), range(dim)] = rho
    # Half the log of the marginals' determinants, which are 1, over that of both together.
    expected = -0.5 * torch.logdet(covariance).item()
    assert gaussian_information(rho, dim) == pytest.approx(expected, rel=1e-12)
    assert math.copysign(1, gaussian_information(0.0, 2)) == 1
    assert gaussian_information(-rho, dim) == gaussian_information(rho, dim)


def test_pairs_are_standard_normal_and_correlate_dimension_by_dimension():
    x, y = draw_gaussians(0.6, 2, 100_000)
    found = torch.corrcoef(torch.cat([x, y], 1).t())
    expected = torch.eye(4)
    expected[[0, 1, 2, 3], [2, 3, 0, 1]] = 0.6
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02)
    torch.testing.assert_close(y.var(0), torch.ones(2), rtol=0, atol=0.02)


@pytest.mark.parametrize('estimator', [JensenShannon, InfoNCE, DonskerVaradhan, NWJ])
def test_a_short_training_recovers_the_analytic_value(estimator):
    estimate = estimate_gaussian_information(estimator(), **SHORT, fresh_batches=100)
    assert estimate.standard_error < 0.03
    # 0.51 nats; the remaining error of a short training, and three standard errors.
    assert estimate.mean == pytest.approx(gaussian_information(0.8, 1), abs=0.12)


def test_infonce_does_not_tell_more_than_the_logarithm_of_the_batch():
    short = dict(dim=2, steps=150, batch_size=4, hidden_channels=24)
    estimate = estimate_gaussian_information(InfoNCE(), rho=0.99, **short)
    assert gaussian_information(0.99, 2) > 3.9
    assert 1 < estimate.mean < math.log(4)


def test_a_seed_decides_and_the_callers_random_numbers_are_left_alone():
    short = dict(rho=0.5, dim=1, steps=3, batch_size=8, fresh_batches=2, hidden_channels=4)
    before = torch.get_rng_state()
    first, second, other = (
        estimate_gaussian_information(NWJ(), **short, seed=seed) for seed in (1, 1, 2)
    )
    assert first == second != other
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(rho=1.0), 'between -1 and 1, got 1.0'),
        (dict(rho=float('nan')), 'between -1 and 1, got nan'),
        (dict(dim=0), 'at least 1 dimension, got 0'),
        (dict(steps=0), 'steps is at least 1, got 0'),
        (dict(batch_size=1), 'batch_size is at least 2, got 1'),
        (dict(fresh_batches=1), 'fresh_batches is at least 2, got 1'),
    ],
)
def test_what_cannot_be_is_named(options, message):
    with pytest.raises(InputError, match=message):
        estimate_gaussian_information(NWJ(), **{'rho': 0.5, 'dim': 1, **options})
