"""Clip the gradients of a student apart from those of what is added to it."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmmuse.distillers import BaseDistiller, OnlineDistiller


class SeparateClipping:
    """Clip the gradients of each network by themselves, and all others together.

    Takes the place of an optimizer wrapper's ``clip_func``, one of PyTorch's ``clip_grad_norm_`` and
    ``clip_grad_value_``.

    Args:
        clip: The function that it replaces.
        networks: The student, or the peers, the first of which is the student.
    """

    def __init__(self, clip: Callable, networks: Sequence[nn.Module]) -> None:
        self.clip = clip
        self._network = {
            id(parameter): number
            for number, network in enumerate(networks)
            for parameter in network.parameters()
        }

    def __call__(self, parameters: Iterable[nn.Parameter], **kwargs: Any) -> Tensor | None:
        """Clip in place, and return what the function returns for the student: the norm before, or None."""
        parts: dict[int | None, list[nn.Parameter]] = {}
        for parameter in parameters:
            parts.setdefault(self._network.get(id(parameter)), []).append(parameter)
        return {part: self.clip(each, **kwargs) for part, each in parts.items()}.get(0)


def clip_separately(optim_wrapper: Any, model: BaseDistiller) -> None:
    """Have an optimizer wrapper with ``clip_grad`` clip the student's gradients by themselves.

    The norm of all gradients is mostly that of the critics and exits, so the student's step would be
    shorter than in plain training.

    Args:
        optim_wrapper: Of a run; one of MMEngine's, else nothing is changed.
        model: That the run trains.
    """
    clip = getattr(optim_wrapper, 'clip_func', None)
    if not isinstance(optim_wrapper, OptimWrapper) or clip is None:
        return
    if not isinstance(clip, SeparateClipping):
        online = isinstance(model, OnlineDistiller)
        networks = list(model.networks.values()) if online else [model.student]
        optim_wrapper.clip_func = SeparateClipping(clip, networks)
