import math

import pytest
from scipy import stats

from mmmuse.analysis.difference import Difference, half_width, paired_difference


def test_the_interval_is_that_of_the_paired_t_test():
    values, reference = {0: 5.0, 1: 7.5, 2: 6.0, 9: 1.0}, {2: 5.5, 0: 4.25, 1: 7.75}
    difference = paired_difference(values, reference)
    test = stats.ttest_rel([5.0, 7.5, 6.0], [4.25, 7.75, 5.5])
    low, high = test.confidence_interval(0.95)
    assert difference.mean - difference.half_width == pytest.approx(low)
    assert difference.mean + difference.half_width == pytest.approx(high)
    assert difference.seeds == 3
    assert (difference.verdict == 'no difference seen') == (test.pvalue > 0.05)


@pytest.mark.parametrize(
    ('difference', 'verdict'),
    [
        (Difference(2.0, 1.5, 3), 'helps'),
        (Difference(-2.0, 1.5, 3), 'hurts'),
        (Difference(2.0, 2.0, 3), 'no difference seen'),
        (Difference(-1.0, 2.0, 3), 'no difference seen'),
        (Difference(9.0, None, 1), 'one seed'),
        (Difference(math.nan, math.nan, 3), 'no difference seen'),
        (Difference(0.1, 0.0, 2), 'no spread'),
    ],
)
def test_the_verdict_follows_from_the_interval(difference, verdict):
    assert difference.verdict == verdict


def test_of_one_seed_there_is_no_interval_and_of_none_no_difference():
    assert paired_difference({0: 2.0}, {0: 1.0}) == Difference(1.0, None, 1)
    assert paired_difference({0: 2.0}, {1: 1.0}) is None
    assert half_width([1.0]) is None


def test_equal_values_have_an_interval_of_no_width():
    assert half_width([3.0, 3.0, 3.0]) == 0.0
    difference = paired_difference({0: 0.3, 1: 0.7}, {0: 0.2, 1: 0.6})
    assert (difference.half_width, difference.verdict) == (0.0, 'no spread')


def test_values_that_are_not_numbers_have_no_verdict():
    difference = paired_difference({0: math.nan, 1: 3.0}, {0: 1.0, 1: 2.0})
    assert difference.verdict == 'no difference seen'
