"""Confidence and correctness of every exit of a trained network on a set of images."""

from collections.abc import Iterable

import torch
from torch import Tensor

from mmmuse.distillers import SelfDistiller
from mmmuse.errors import InputError
from mmmuse.export.exit_network import exit_logits
from mmmuse.tapping.logits_kind import logits_kind

from .early_exit import ExitRecord


def refuse_multi_label(distiller: SelfDistiller) -> None:
    """Refuse a multi-label network: an image has several labels, so there is no top-1 accuracy.

    Raises:
        InputError: If it is one.
    """
    if logits_kind(distiller.student) == 'labels':
        raise InputError(
            'the exits of a multi-label classifier have no top-1 accuracy; mmmuse test measures them '
            'with ExitMetric'
        )


def record_exits(distiller: SelfDistiller, batches: Iterable[tuple[Tensor, Tensor]]) -> ExitRecord:
    """Run every exit on every image.

    Args:
        distiller: In eval mode; see :func:`refuse_multi_label`.
        batches: Normalised images ``(N, C, H, W)`` and labels ``(N, )``.

    Raises:
        InputError: If ``batches`` is empty.
    """
    confidence, correct = [], []
    for images, labels in batches:
        logits = torch.stack(exit_logits(distiller, images), 1)
        confidence.append(logits[:, :-1].softmax(-1).amax(-1))
        correct.append(logits.argmax(-1) == labels[:, None])
    if not correct:
        raise InputError('no images to evaluate on')
    return ExitRecord(torch.cat(confidence).numpy(), torch.cat(correct).numpy())
