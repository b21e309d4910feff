import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.errors import InputError
from mmmuse.functional import decode_anchor_boxes


def slow_box(logits, cell, anchor, stride) -> list[float]:
    tx, ty, tw, th = (1 / (1 + math.exp(-logit)) for logit in logits)
    return [
        (2 * tx - 0.5 + cell[0]) * stride,
        (2 * ty - 0.5 + cell[1]) * stride,
        (2 * tw) ** 2 * anchor[0],
        (2 * th) ** 2 * anchor[1],
    ]


PAIR = st.tuples(st.floats(0, 100), st.floats(0, 100))


@given(
    boxes=st.lists(
        st.tuples(st.tuples(*[st.floats(-20, 20)] * 4), PAIR, PAIR), min_size=1, max_size=5
    ),
    stride=st.sampled_from([8, 16, 32]),
)
def test_equals_a_loop_in_float64(boxes, stride):
    logits, cells, anchors = (torch.tensor(part, dtype=torch.float64) for part in zip(*boxes))
    decoded = decode_anchor_boxes(logits, cells, anchors, stride)
    expected = torch.tensor([slow_box(*box, stride) for box in boxes], dtype=torch.float64)
    assert decoded.dtype == torch.float64
    torch.testing.assert_close(decoded, expected, rtol=1e-12, atol=1e-12)


def test_cells_and_anchors_are_those_of_their_own_dimension():
    """Logits (N, A, H, W, 4), cells (H, W, 2) and anchors (A, 1, 1, 2), as a head has them."""
    logits = torch.randn(2, 3, 4, 5, 4, dtype=torch.float64)
    cells = torch.stack(torch.meshgrid(torch.arange(5), torch.arange(4), indexing='xy'), -1)
    anchors = torch.rand(3, 1, 1, 2, dtype=torch.float64) * 50
    decoded = decode_anchor_boxes(logits, cells, anchors, 16)
    for n, a, row, column in ((0, 0, 0, 0), (1, 2, 3, 4), (0, 1, 3, 0), (1, 0, 1, 4)):
        expected = slow_box(
            logits[n, a, row, column].tolist(), (column, row), anchors[a, 0, 0].tolist(), 16
        )
        torch.testing.assert_close(decoded[n, a, row, column].tolist(), expected)


def test_a_logit_of_zero_is_the_middle_of_the_cell_and_the_anchors_size():
    decoded = decode_anchor_boxes(
        torch.zeros(4), torch.tensor([3, 1]), torch.tensor([10.0, 13.0]), 8
    )
    assert decoded.tolist() == [28.0, 12.0, 10.0, 13.0]


@pytest.mark.parametrize(('logit', 'centre', 'size'), [(-100.0, -4.0, 0.0), (100.0, 12.0, 40.0)])
def test_boxes_reach_half_a_cell_further_and_four_times_the_anchor_at_most(logit, centre, size):
    decoded = decode_anchor_boxes(
        torch.full((4,), logit), torch.zeros(2), torch.tensor([10.0, 10.0]), 8
    )
    torch.testing.assert_close(decoded, torch.tensor([centre, centre, size, size]))


def test_gradient_is_that_of_finite_differences():
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    cells, anchors = torch.rand(2, 3, 2, dtype=torch.float64) * 9
    assert torch.autograd.gradcheck(
        lambda logits: decode_anchor_boxes(logits, cells, anchors, 8), (logits,)
    )


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_decoded_in_float32(dtype):
    logits = torch.randn(50, 4).to(dtype)
    cells, anchors = torch.randint(0, 80, (50, 2)), torch.rand(50, 2) * 300
    decoded = decode_anchor_boxes(logits, cells, anchors, 8)
    assert decoded.dtype == torch.float32
    expected = [slow_box(*box, 8) for box in zip(logits.tolist(), cells.tolist(), anchors.tolist())]
    # At 600 pixels bfloat16 is 2 pixels apart.
    torch.testing.assert_close(decoded, torch.tensor(expected), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize('shape', [(5,), (4, 3), ()])
def test_logits_that_are_not_four_are_refused(shape):
    with pytest.raises(InputError, match=r'needs logits \(\.\.\., 4\), got shape'):
        decode_anchor_boxes(torch.zeros(shape), torch.zeros(2), torch.ones(2), 8)
