import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.functional import standardized_logits


@given(st.integers(1, 4), st.integers(2, 7), st.integers(0, 2**16))
def test_equals_the_z_scores_of_each_image(num_images, num_classes, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(num_images, num_classes, dtype=torch.float64, generator=generator) * 5
    for row, found in zip(logits.tolist(), standardized_logits(logits).tolist()):
        mean, deviation = statistics.fmean(row), statistics.stdev(row)
        expected = [(value - mean) / (deviation + 1e-7) for value in row]
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_size_and_shift_do_not_count():
    logits = torch.randn(3, 5, dtype=torch.float64)
    torch.testing.assert_close(
        standardized_logits(7 * logits + 2), standardized_logits(logits), rtol=1e-5, atol=1e-6
    )


def test_equal_logits_are_zero_with_a_finite_gradient():
    logits = torch.full((2, 4), 3.0, requires_grad=True)
    standardized = standardized_logits(logits)
    assert torch.equal(standardized, torch.zeros(2, 4))
    standardized.square().sum().backward()
    assert logits.grad.isfinite().all()


def test_logits_that_are_nearly_equal_have_the_deviation_of_the_formula():
    row = [1e-8, 3e-8, -2e-8]
    mean, deviation = statistics.fmean(row), statistics.stdev(row)
    expected = [(value - mean) / (deviation + 1e-7) for value in row]
    found = standardized_logits(torch.tensor([row], dtype=torch.float64))[0]
    assert found.tolist() == pytest.approx(expected, rel=1e-6)


def test_half_precision_is_computed_in_float32():
    assert standardized_logits(torch.randn(2, 5, dtype=torch.bfloat16)).dtype == torch.float32
