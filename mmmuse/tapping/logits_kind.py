"""What the logits of a network's head mean, without importing its library."""

import inspect
from typing import Literal

from torch import nn

LogitsKind = Literal['classes', 'labels', 'margin']


def logits_kind(network: nn.Module) -> LogitsKind:
    """Return what a network's logits mean.

    Args:
        network: An OpenMMLab model.

    Returns:
        ``'labels'`` of a multi-label head, whose classes do not exclude each other, and of a
        segmenter with one logit for two classes, or whose losses all have a sigmoid; ``'margin'`` of
        a head that shifts the logits by a margin in training; ``'classes'`` of any other network.
    """
    head = getattr(network, 'head', None)
    if _has_pixel_sigmoid(last_decode_head(network)):
        return 'labels'
    if is_multi_label(head):
        return 'labels'
    return 'margin' if isinstance(head, nn.Module) and shifted_logits(head) else 'classes'


def last_decode_head(network: nn.Module) -> nn.Module | None:
    """Return the decode head whose logits a segmenter predicts with: the last one of a cascade; None of other networks."""
    head = getattr(network, 'decode_head', None)
    return head[-1] if isinstance(head, nn.ModuleList) and len(head) else head


def _has_pixel_sigmoid(head: nn.Module | None) -> bool:
    """Return whether the logits of a decode head are for a sigmoid.

    A loss with a sigmoid beside one with a softmax says nothing: that of mmseg's ``DiceLoss`` is its
    default, and it stands beside a softmax cross-entropy in mmseg's own configs.
    """
    losses = getattr(head, 'loss_decode', None)
    losses = losses if isinstance(losses, nn.ModuleList) else [losses]
    if losses[0] is None:
        return False
    one_logit = getattr(head, 'out_channels', None) == 1
    return one_logit or all(getattr(loss, 'use_sigmoid', False) for loss in losses)


def shifted_logits(module: nn.Module) -> str | None:
    """Return why a module's output in training is not the class logits; None if it is.

    A margin head (``ArcFaceClsHead``) receives the labels in training and makes the logits of the
    right classes smaller.
    """
    if 'target' in inspect.signature(module.forward).parameters:
        return 'subtracts a margin from the logits of the right classes in training'
    return None


def is_multi_label(head: nn.Module | None) -> bool:
    """Return whether a head is one of mmpretrain's multi-label heads."""
    return is_multi_label_type(type(head))


def is_multi_label_type(kind: type) -> bool:
    """Return whether a class is one of mmpretrain's multi-label heads."""
    return any(base.__name__ == 'MultiLabelClsHead' for base in kind.__mro__)
