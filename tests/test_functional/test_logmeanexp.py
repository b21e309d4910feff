import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.errors import InputError
from mmmuse.functional import logmeanexp


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=12))
def test_equals_a_slow_loop_over_the_formula(scores):
    slow = math.log(sum(math.exp(score) for score in scores) / len(scores))
    found = logmeanexp(torch.tensor(scores, dtype=torch.float64))
    assert math.isclose(found.item(), slow, rel_tol=1e-9, abs_tol=1e-12)


def test_half_precision_is_computed_in_float32():
    scores = torch.randn(9, 99).bfloat16()
    assert logmeanexp(scores).dtype == torch.float32
    torch.testing.assert_close(logmeanexp(scores), scores.float().exp().mean().log())


def test_no_value_has_no_mean():
    with pytest.raises(InputError, match=r'at least one value, got shape \(0, 3\)'):
        logmeanexp(torch.zeros(0, 3))
