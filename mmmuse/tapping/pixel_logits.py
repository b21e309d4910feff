"""Logits of pixels as those of examples."""

from copy import copy
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mmmuse.tapping.features import DistillFeatures, Step


def with_pixels_as_examples(step: Step) -> Step:
    """Return a step whose logits are those of pixels, ``(N * H * W, K)``, if they are maps.

    Args:
        step: Of two segmenters. The learner's logits are resized to the source's grid, by bilinear
            interpolation.
    """
    target = step.source.logits
    if target is None or target.ndim != 4 or step.learner.logits is None:
        return step
    size = target.shape[2:]
    return replace(
        step,
        learner=_with_logits(step.learner, pixels(step.learner.logits, size)),
        source=_with_logits(step.source, pixels(target, size)),
        ensemble_logits=None
        if step.ensemble_logits is None
        else pixels(step.ensemble_logits, size),
    )


def pixels(logits: Tensor, size: torch.Size) -> Tensor:
    """Return logits ``(N, K, h, w)`` in another size, as those of N * H * W examples."""
    if logits.shape[2:] != size:
        logits = F.interpolate(logits, size, mode='bilinear')
    return torch.flatten(logits.movedim(1, -1), 0, 2)


def _with_logits(features: DistillFeatures, logits: Tensor) -> DistillFeatures:
    features = copy(features)
    features.logits = logits
    return features
