from collections.abc import Callable, Sequence
from copy import copy, deepcopy

import torch
from torch import Tensor, nn

from mmmuse.tapping.taps import FeatureTaps


class FrozenNetwork:
    """A network that is looked at and does not learn.

    It is no ``nn.Module``, so a distiller that holds one has nothing of it among
    its submodules: not in the optimizer, DDP, an EMA's average or a checkpoint.
    To follow ``.to()``, the distiller passes on what is done to its tensors::

        def _apply(self, fn, *args, **kwargs):
            self.teacher.convert(fn)
            return super()._apply(fn, *args, **kwargs)

    A deep copy (an EMA's) shares the network, until either is converted.

    Args:
        model: An OpenMMLab model; it is frozen.
        taps: Hooks on it; those of ``tap_paths`` by default.
        tap_paths: Module paths of the features that are wanted.
        training: Whether it predicts in training mode, with the batch's own
            statistics and dropout, rather than in eval mode.

    Raises:
        InputError: If a tap is unusable; see :class:`mmmuse.tapping.taps.FeatureTaps`.
    """

    def __init__(
        self,
        model: nn.Module,
        tap_paths: Sequence[str] = (),
        training: bool = False,
        taps: FeatureTaps | None = None,
    ) -> None:
        model.requires_grad_(False)
        model.train(training)
        self.model = model
        self.taps = taps or FeatureTaps(model, tap_paths)
        self._shared = False

    @classmethod
    def copy_of(
        cls, model: nn.Module, tap_paths: Sequence[str], training: bool = False
    ) -> 'FrozenNetwork':
        """Return a frozen copy of a network, which stays as it is."""
        return cls(deepcopy(model), tap_paths, training)

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return the tapped features of ``inputs`` ``(N, C, H, W)``, by path."""
        with self.taps:
            self.model(inputs, mode='tensor')
            return self.taps.pop()

    def convert(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Do to every tensor what ``nn.Module._apply`` is doing to those of the distiller."""
        if self._shared:  # The other holder's network stays where it is.
            self.model, self.taps = deepcopy((self.model, self.taps))
            self._shared = False
        self.model._apply(fn)

    def __deepcopy__(self, memo: dict) -> 'FrozenNetwork':
        self._shared = True
        return copy(self)
