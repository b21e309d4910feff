from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from mmmuse.taps import FeatureTaps


class FrozenCopy:
    """A copy of a network that is looked at and does not learn.

    It is no ``nn.Module``, so a distiller that holds one has nothing of it among
    its submodules: not in the optimizer, DDP, an EMA's average or a checkpoint.
    To follow ``.to()``, the distiller passes on what is done to its tensors::

        def _apply(self, fn, *args, **kwargs):
            self.teacher.convert(fn)
            return super()._apply(fn, *args, **kwargs)

    Args:
        model: An OpenMMLab model; it stays as it is.
        tap_paths: Module paths of the features that are wanted.
        training: Whether it predicts in training mode, with the batch's own
            statistics and dropout, rather than in eval mode.

    Raises:
        InputError: If a tap is unusable; see :class:`mmmuse.taps.FeatureTaps`.
    """

    def __init__(self, model: nn.Module, tap_paths: Sequence[str], training: bool = False) -> None:
        self.model = deepcopy(model).requires_grad_(False).train(training)
        self.taps = FeatureTaps(self.model, tap_paths)

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return the tapped features of ``inputs`` ``(N, C, H, W)``, by path."""
        with self.taps:
            self.model(inputs, mode='tensor')
            return self.taps.pop()

    def convert(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Do to every tensor what ``nn.Module._apply`` is doing to those of the distiller."""
        self.model._apply(fn)
