import torch
from torch import Tensor

from mmmuse.errors import InputError


def match_anchors(
    centres: Tensor, sizes: Tensor, anchors: Tensor, grid: tuple[int, int], ratio: float = 4.0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""Assign boxes to the anchors and cells of one level of a detector.

    A box matches an anchor of similar sides,

    .. math::
        \max\Big( \frac{w}{a_w}, \frac{a_w}{w}, \frac{h}{a_h}, \frac{a_h}{h} \Big) < \text{ratio}

    in the cell of its centre, in the nearer neighbour to the left or right, and in the nearer
    neighbour above or below. Neighbours outside the grid are omitted, and so are both neighbours
    along an axis if the centre is in the middle of its cell. Boxes with a side of 0 or less, or with
    their centre outside the grid, match nothing.

    Args:
        centres: ``(x, y)`` of M boxes in cells, shape ``(M, 2)``.
        sizes: ``(w, h)`` of M boxes in pixels, shape ``(M, 2)``.
        anchors: ``(w, h)`` of A anchors in pixels, shape ``(A, 2)``.
        grid: ``(H, W)``, cells of the level.
        ratio: How much a side may differ, more than 1.

    Returns:
        Indices of the P matches, each of shape ``(P, )``: box, anchor, row and column.

    Raises:
        InputError: If the shapes do not fit, or the ratio is not above 1.

    Source: YOLOv5 (version 5.0) as MUSE's section 4.2 uses it; the paper itself
    does not describe it.

    Example:
        >>> centres, sizes = torch.tensor([[1.25, 0.5]]), torch.tensor([[8.0, 8.0]])
        >>> match_anchors(centres, sizes, torch.tensor([[8.0, 8.0]]), (2, 2))
        (tensor([0, 0]), tensor([0, 0]), tensor([0, 0]), tensor([1, 0]))
    """
    for name, value in (('centres', centres), ('sizes', sizes), ('anchors', anchors)):
        if value.ndim != 2 or value.shape[1] != 2:
            raise InputError(f'match_anchors needs {name} (M, 2), got {tuple(value.shape)}')
    if len(centres) != len(sizes):
        raise InputError(f'match_anchors got {len(centres)} centres and {len(sizes)} sizes')
    if not ratio > 1:
        raise InputError(f'match_anchors needs a ratio above 1, got {ratio}')
    relative = sizes[:, None] / anchors
    alike = torch.maximum(relative, 1 / relative).amax(-1) < ratio
    height, width = grid
    limits = centres.new_tensor([width, height])
    inside = ((centres >= 0) & (centres < limits) & (sizes > 0)).all(1)
    box, anchor = (alike & inside[:, None]).nonzero(as_tuple=True)

    cell = centres[box].floor()
    fraction = centres[box] - cell
    step = (fraction > 0.5).to(cell) - (fraction < 0.5).to(cell)  # Toward the nearer neighbour.
    nothing = torch.zeros_like(step[:, 0])
    moves = torch.stack(
        [
            torch.zeros_like(step),
            torch.stack([step[:, 0], nothing], 1),
            torch.stack([nothing, step[:, 1]], 1),
        ]
    )
    cells = cell + moves
    real = ((cells >= 0) & (cells < limits)).all(-1)
    real[1:] &= (moves[1:] != 0).any(-1)
    column, row = cells[real].long().unbind(1)
    repeated = torch.arange(len(box), device=box.device).expand(3, -1)[real]
    return box[repeated], anchor[repeated], row, column
