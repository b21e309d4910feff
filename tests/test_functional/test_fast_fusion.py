import pytest
import torch

from mmmuse.errors import InputError
from mmmuse.functional import fast_normalised_fusion


def test_equals_a_slow_loop_over_the_formula():
    maps = torch.randn(3, 2, 2, dtype=torch.float64)
    weights = [0.5, -2.0, 1.5]
    fused = fast_normalised_fusion(list(maps), torch.tensor(weights, dtype=torch.float64))
    for y in range(2):
        for x in range(2):
            expected = (0.5 * maps[0, y, x] + 1.5 * maps[2, y, x]) / (1e-4 + 2.0)
            torch.testing.assert_close(fused[y, x], expected)


def test_gradient_is_that_of_finite_differences():
    maps = [torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    weights = torch.tensor([0.7, 1.3], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda first, second, weights: fast_normalised_fusion([first, second], weights),
        (*maps, weights),
    )


def test_weights_that_are_all_zero_give_zeros():
    fused = fast_normalised_fusion([torch.ones(2), torch.ones(2)], torch.zeros(2))
    assert fused.tolist() == [0.0, 0.0]


def test_another_number_of_weights_is_refused():
    with pytest.raises(InputError, match='2 maps'):
        fast_normalised_fusion([torch.ones(2), torch.ones(2)], torch.ones(3))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(dtype):
    maps = [torch.randn(2, 3, 8, 8).to(dtype) for _ in range(20)]
    weights = torch.rand(20).to(dtype)
    exact = fast_normalised_fusion([map.double() for map in maps], weights.double())
    found = fast_normalised_fusion(maps, weights)
    assert found.dtype == dtype
    assert (
        torch.equal(found, exact.to(dtype))
        or ((found.double() - exact).abs() <= torch.finfo(dtype).eps * exact.abs()).all()
    )
