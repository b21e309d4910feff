import math

import pytest

from mmmuse.functional import sigmoid_ramp


@pytest.mark.parametrize(
    ('progress', 'expected'),
    [
        (0.0, math.e**-5),
        (0.2, math.e**-3.2),
        (0.5, math.e**-1.25),
        (0.9, math.e**-0.05),
        (1.0, 1.0),
    ],
)
def test_is_exp_of_minus_five_times_the_square_of_what_is_left(progress, expected):
    assert sigmoid_ramp(progress) == pytest.approx(expected)


def test_stays_at_its_ends_outside():
    assert sigmoid_ramp(-1.0) == sigmoid_ramp(0.0)
    assert sigmoid_ramp(3.0) == 1.0
