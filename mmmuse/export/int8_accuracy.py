"""Whether an int8 form is good enough: by its accuracy, since its logits always differ."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from mmmuse.errors import InputError


def check_int8_accuracy(int8: float, exact: float, limit: float, name: str = 'top-1') -> str:
    """Return in words how much accuracy int8 loses.

    Args:
        int8: Accuracy of the int8 form, in percent.
        exact: That of the same network in float32.
        limit: Accepted loss, in points.
        name: Of the accuracy.

    Raises:
        InputError: If it loses more.
    """
    line = f'{name} {int8:.2f} %, {exact - int8:.2f} points less than {exact:.2f} % in float32'
    if exact - int8 > limit:
        raise InputError(
            f'verification of int8 failed; the export was discarded: {line}, more than {limit:g} '
            '(raise --calibration-images, or accept it by --max-int8-loss)'
        )
    return f'{line} (accepted: up to {limit:g} points)'


@torch.no_grad()
def share_of_same_classes(
    predict: Callable[[dict], Tensor],
    reference: Callable[[dict], Tensor],
    images: Iterable[Tensor],
    axis: int = -1,
) -> float:
    """Return the share of images, or of their pixels, for which two networks predict the same class.

    Args:
        predict: Maps a batch to logits ``(N, K)`` or ``(N, K, H, W)``.
        reference: The other network.
        images: Batches ``(N, C, H, W)``, normalized.
        axis: Of the classes.
    """
    same = [
        (
            predict(dict(inputs=batch)).argmax(axis) == reference(dict(inputs=batch)).argmax(axis)
        ).flatten()
        for batch in images
    ]
    return torch.cat(same).double().mean().item()
