import torch
from torch import Tensor

from mmmuse.errors import InputError

from .precision import at_least_float32


def decode_anchor_boxes(logits: Tensor, cells: Tensor, anchors: Tensor, stride: float) -> Tensor:
    r"""Return the boxes that a YOLOv5 head's logits encode, in float32 at least.

    .. math::
        (x, y) = \big( 2 \sigma(t_{xy}) - \tfrac{1}{2} + (c_x, c_y) \big) \cdot \text{stride},
        \qquad (w, h) = \big( 2 \sigma(t_{wh}) \big)^2 \cdot (a_w, a_h)

    Args:
        logits: :math:`(t_x, t_y, t_w, t_h)`, shape ``(..., 4)``.
        cells: Column and row :math:`(c_x, c_y)`, broadcastable to ``(..., 2)``.
        anchors: :math:`(a_w, a_h)` in pixels, broadcastable to ``(..., 2)``.
        stride: Pixels of a cell.

    Returns:
        ``(centre x, centre y, width, height)`` in pixels, shape ``(..., 4)``.

    Raises:
        InputError: If the last dimension is not 4.

    Source: YOLOv5 (version 5.0) as MUSE's section 4.2 uses it; the paper itself
    does not describe it.

    Example:
        >>> cell, anchor = torch.tensor([1.0, 2.0]), torch.tensor([10.0, 13.0])
        >>> decode_anchor_boxes(torch.zeros(4), cell, anchor, 8)
        tensor([12., 20., 10., 13.])
    """
    if logits.shape[-1:] != (4,):
        raise InputError(
            f'decode_anchor_boxes needs logits (..., 4), got shape {tuple(logits.shape)}'
        )
    twice = 2 * at_least_float32(logits).sigmoid()
    centre = (twice[..., :2] - 0.5 + cells) * stride
    return torch.cat([centre, twice[..., 2:] ** 2 * anchors], -1)
