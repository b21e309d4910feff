"""What an export is worth: a row for the original and for each of its forms."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mmmuse.errors import InputError

from .formats import Function

TOLERANCE = 1e-4


@dataclass
class Form:
    """One form of a network: the original, mmpretrain's, ONNX, ...

    Attributes:
        run: Maps normalised images ``(N, C, H, W)`` to logits ``(N, K)``.
        bytes: Size of its file.
        params: Parameters; None where nobody counts them.
        macs: Multiply-adds for one image.
        exact: Whether its logits have to be those of the exit.
    """

    run: Function
    bytes: int
    params: int | None = None
    macs: int | None = None
    exact: bool = True


@torch.no_grad()
def largest_difference(function: Function, images: Tensor, logits: Tensor) -> float:
    """Return the largest difference of a function's logits from the given ones.

    The images go through as one batch and, the first of them, alone.

    Args:
        function: Maps images ``(N, C, H, W)`` to logits ``(N, K)``.
        images: N of them.
        logits: What is expected, ``(N, K)``.
    """
    pairs = ((function(images), logits), (function(images[:1]), logits[:1]))
    return max((own - expected).abs().max().item() for own, expected in pairs)


def refuse_other_outputs(name: str, difference: float) -> None:
    """Refuse a form whose logits are not those of the exit.

    Raises:
        InputError: If they differ by more than 1e-4, or are not numbers.
    """
    if not difference <= TOLERANCE:
        raise InputError(
            f'the export is not good and is not kept: logits of {name} differ by {difference:.2g} '
            f'from those of the exit, more than {TOLERANCE:g}'
        )


@torch.no_grad()
def accuracies(
    functions: Mapping[str, Function], batches: Iterable[tuple[Tensor, Tensor]]
) -> dict[str, float]:
    """Return the top-1 accuracy of each function in percent.

    Args:
        functions: Each maps images ``(N, C, H, W)`` to logits ``(N, K)``.
        batches: Images and labels ``(N, )``; read once.

    Raises:
        InputError: If there are no images.
    """
    hits = dict.fromkeys(functions, 0)
    total = 0
    for images, labels in batches:
        total += len(labels)
        for name, function in functions.items():
            hits[name] += (function(images).argmax(1) == labels).sum().item()
    if not total:
        raise InputError('there are no images to measure the accuracy on')
    return {name: 100 * hit / total for name, hit in hits.items()}
