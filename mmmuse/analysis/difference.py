"""Differences between two rows of a table, paired by seed, with confidence intervals."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

LEVEL = 0.95  # Of the intervals.


class Difference(NamedTuple):
    """The mean difference between two rows.

    Attributes:
        mean: In the unit of the values.
        half_width: Of the confidence interval, which lies symmetrically around the mean; None for one seed.
        seeds: Number of pairs.
    """

    mean: float
    half_width: float | None
    seeds: int

    @property
    def verdict(self) -> str:
        """The verdict on the first row: ``'helps'`` or ``'hurts'`` where the interval does not contain 0."""
        if self.half_width is None:
            return 'one seed'
        if self.half_width == 0:  # Differences that are equal say nothing about their spread.
            return 'no spread'
        if not abs(self.mean) > self.half_width:  # Of values that are not numbers, too.
            return 'no difference seen'
        return 'helps' if self.mean > 0 else 'hurts'

    def __str__(self) -> str:
        if self.half_width is None:
            return f'{self.mean:+.2f}'
        low, high = self.mean - self.half_width, self.mean + self.half_width
        return f'{self.mean:+.2f} [{low:+.2f}, {high:+.2f}]'


def paired_difference(
    values: Mapping[int, float], reference: Mapping[int, float]
) -> Difference | None:
    """Return the mean difference over the seeds that both have; None if they share none.

    The interval is that of Student's t-test for paired samples: it assumes that the differences of
    the seeds are normally distributed.

    Args:
        values: By seed; higher is better.
        reference: What they are compared with, by seed.

    Example:
        >>> print(paired_difference({0: 71.0, 1: 72.0, 2: 73.0}, {0: 70.0, 1: 70.0, 2: 70.0}))
        +2.00 [-0.48, +4.48]
    """
    pairs = [values[seed] - reference[seed] for seed in values if seed in reference]
    return Difference(float(np.mean(pairs)), half_width(pairs), len(pairs)) if pairs else None


def half_width(values: Sequence[float]) -> float | None:
    """Return half of the width of the 95 % confidence interval of a mean; None for fewer than two values.

    Args:
        values: A sample of a normal distribution.
    """
    if len(values) < 2:
        return None
    from scipy import stats

    # Not stats.t.interval, which has no interval for values that are equal.
    deviation = 0.0 if np.ptp(values) < 1e-9 else stats.sem(values)
    return float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * deviation)
