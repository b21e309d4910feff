from collections.abc import Callable, Sequence
from copy import copy, deepcopy

import torch
from torch import Tensor, nn

from mmmuse.tapping.taps import FeatureTaps


class FrozenNetwork:
    """A network whose features are read and which is not trained.

    It is not an ``nn.Module``, so that it is not a submodule of the distiller and is not in the
    optimizer, DDP, an EMA or a checkpoint. For ``.to()``, the distiller passes on the
    conversion of its own tensors::

        def _apply(self, fn, *args, **kwargs):
            self.teacher.convert(fn)
            return super()._apply(fn, *args, **kwargs)

    A deep copy (an EMA's) shares the network until one of the two is converted.

    Args:
        model: An OpenMMLab model; it is frozen.
        taps: Hooks on it; those of ``tap_paths`` by default.
        tap_paths: Module paths of the features.
        training: Whether it runs in training mode, with batch statistics and dropout.

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
        """Return a frozen copy of a network; the network itself is unchanged."""
        return cls(deepcopy(model), tap_paths, training)

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return the tapped features of ``inputs`` ``(N, C, H, W)``, by path."""
        with self.taps:
            self.model(inputs, mode='tensor')
            return self.taps.pop()

    def convert(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Apply a conversion of ``nn.Module._apply``, such as ``.to()``, to every tensor."""
        if self._shared:  # The network of the other copy is not converted.
            self.model, self.taps = deepcopy((self.model, self.taps))
            self._shared = False
        self.model._apply(fn)

    def __deepcopy__(self, memo: dict) -> 'FrozenNetwork':
        self._shared = True
        return copy(self)
