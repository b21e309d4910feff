"""Estimates of a known mutual information, that of correlated Gaussian vectors."""

import math
import statistics
from typing import NamedTuple

import torch
from torch import Tensor

from mmmuse.critics import GlobalLocalCritic
from mmmuse.errors import InputError
from mmmuse.estimators import InformationEstimator


def gaussian_information(rho: float, dim: int) -> float:
    r"""Return the mutual information of two vectors that correlate dimension by dimension.

    .. math::
        I(X; Y) = -\frac{d}{2} \log(1 - \rho^2)

    Args:
        rho: Correlation of each dimension, between -1 and 1.
        dim: d.

    Returns:
        Nats.

    Raises:
        InputError: If the correlation is not between -1 and 1, or ``dim`` is below 1.

    Example:
        >>> round(gaussian_information(0.6, 2), 4)
        0.4463
    """
    if not -1 < rho < 1:
        raise InputError(f'a correlation is between -1 and 1, got {rho}')
    if dim < 1:
        raise InputError(f'a vector has at least 1 dimension, got {dim}')
    return 0.0 - 0.5 * dim * math.log(1 - rho**2)


def draw_gaussians(rho: float, dim: int, num_pairs: int) -> tuple[Tensor, Tensor]:
    """Draw pairs of standard normal vectors, ``(N, dim)`` each, that correlate per dimension."""
    x, noise = torch.randn(2, num_pairs, dim)
    return x, rho * x + (1 - rho**2) ** 0.5 * noise


class GaussianEstimate(NamedTuple):
    """An estimate on pairs that were not trained on, in nats.

    Attributes:
        mean: Over the batches.
        standard_error: Of that mean.
    """

    mean: float
    standard_error: float


def estimate_gaussian_information(
    estimator: InformationEstimator,
    rho: float,
    dim: int,
    steps: int = 400,
    batch_size: int = 128,
    seed: int = 0,
    fresh_batches: int = 200,
    hidden_channels: int = 64,
    learning_rate: float = 5e-3,
    device: str = 'cpu',
) -> GaussianEstimate:
    """Train a critic with an estimator on pairs of Gaussians; return its estimate on fresh ones.

    The critic is a ``concat`` critic that scores every pair of a batch. No pair is used twice.
    Adam's learning rate decays to 0 by a cosine. The caller's random state is unchanged.

    Args:
        estimator: Untrained; it is trained with the critic's scores.
        rho: Correlation of each dimension, between -1 and 1.
        dim: Dimensions of either vector.
        steps: Batches to train on.
        batch_size: Pairs of a batch; InfoNCE's estimate is at most its logarithm.
        seed: Of the critic and of the pairs.
        fresh_batches: Batches to estimate on.
        hidden_channels: Width of the critic.
        learning_rate: At the start.
        device: Of the critic. The pairs are drawn on the CPU, so they are the same on any device.

    Raises:
        InputError: If a correlation or a number is out of its range.

    Source: the test bed of "Mutual Information Neural Estimation" (Belghazi et
    al., ICML 2018), section 4, and of "On variational bounds of mutual
    information" (Poole et al., ICML 2019), section 3.
    """
    gaussian_information(rho, dim)  # Checks both.
    for name, number, least in (
        ('steps', steps, 1),
        ('batch_size', batch_size, 2),
        ('fresh_batches', fresh_batches, 2),
    ):
        if number < least:
            raise InputError(f'{name} is at least {least}, got {number}')

    def pairs() -> list[Tensor]:
        return [side.to(device) for side in draw_gaussians(rho, dim, batch_size)]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        critic = GlobalLocalCritic(dim, dim, hidden_channels=hidden_channels, negatives='all')
        critic.to(device)
        optimizer = torch.optim.Adam(critic.parameters(), lr=learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            optimizer.zero_grad()
            # loss(scores) and not estimator(critic, ...): faster for one location in many pairs.
            estimator.loss(critic(*pairs())).backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            estimates = [estimator.estimate(critic(*pairs())).item() for _ in range(fresh_batches)]
    return GaussianEstimate(
        statistics.mean(estimates), statistics.stdev(estimates) / fresh_batches**0.5
    )
