"""What the logits of a network's head mean, without importing its library."""

from typing import Literal

from torch import nn

LogitsKind = Literal['classes', 'labels', 'margin']


def logits_kind(network: nn.Module) -> LogitsKind:
    """Return what a network's logits mean.

    Args:
        network: An OpenMMLab model.

    Returns:
        ``'labels'`` of a multi-label head, whose classes do not exclude each other; ``'margin'`` of
        a head that shifts the logits by a margin in training; ``'classes'`` of any other network.
    """
    head = getattr(network, 'head', None)
    if is_multi_label(head):
        return 'labels'
    return 'margin' if _is_a(head, 'ArcFaceClsHead') else 'classes'


def is_multi_label(head: nn.Module | None) -> bool:
    """Return whether a head is one of mmpretrain's multi-label heads."""
    return _is_a(head, 'MultiLabelClsHead')


def _is_a(head: nn.Module | None, name: str) -> bool:
    return any(kind.__name__ == name for kind in type(head).__mro__)
