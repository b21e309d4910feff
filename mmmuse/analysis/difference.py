"""Differences between two rows of a table, paired by seed, with confidence intervals."""

import math
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import NamedTuple

LEVEL = 0.95  # Of the intervals.


class Difference(NamedTuple):
    """The mean difference between two rows.

    Attributes:
        mean: In the unit of the values.
        half_width: Of the confidence interval, which lies symmetrically around the mean; None of one seed.
        seeds: How many pairs there are.
    """

    mean: float
    half_width: float | None
    seeds: int

    @property
    def verdict(self) -> str:
        """What it says of the first row: ``'helps'`` or ``'hurts'`` where the interval does not hold 0."""
        if self.half_width is None:
            return 'one seed'
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
    return Difference(mean(pairs), half_width(pairs), len(pairs)) if pairs else None


def half_width(values: Sequence[float]) -> float | None:
    """Return half of the width of the 95 % confidence interval of a mean; None of fewer than two values.

    Args:
        values: A sample of a normal distribution.
    """
    if len(values) < 2:
        return None
    from scipy import stats

    quantile = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1))
    return quantile * stdev(values) / math.sqrt(len(values))
