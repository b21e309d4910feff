"""Whether the weights that a distiller adds to its student have been trained or loaded."""

import logging
from collections.abc import Mapping

from mmengine.logging import print_log
from torch import Tensor, nn

_UNUSED_IN_EVAL = 'num_batches_tracked'  # Files of earlier versions lack it.


class AddedWeights:
    """What is known of the weights beside the student's: those of exits, critics and peers.

    It is not in the state dict: a file of an earlier version says as much by the tensors that it
    has. A deep copy of the distiller has its own copy.

    Attributes:
        trained: Whether a training step has been taken.
    """

    def __init__(self) -> None:
        self.trained = False
        self._known: set[str] = set()
        self._given: set[str] = set()
        self._reported = False

    def forget(self) -> None:
        """Note that the weights have been initialised anew."""
        self.trained = False
        self._known.clear()

    def note_loaded(self, distiller: nn.Module, weights: Mapping[str, Tensor], prefix: str) -> None:
        """Note the tensors of a state dict that is loaded into a distiller.

        Args:
            distiller: The distiller.
            weights: The state dict, under current names.
            prefix: Common prefix of its names.
        """
        for name, value in distiller.state_dict().items():
            if getattr(weights.get(prefix + name), 'shape', None) == value.shape:
                self._known.add(name)

    def note_given(self, *parts: str) -> None:
        """Note networks that came with weights of their own, by their names."""
        self._given.update(parts)

    def are_random(self, distiller: nn.Module, *parts: str) -> bool:
        """Return whether some weights of a distiller still have their first values.

        Args:
            distiller: The distiller.
            *parts: Names of its modules, e.g. ``'muse.exits'``.
        """
        asked = set(parts) - self._given - self._known
        if self.trained or not asked:
            return False
        prefixes = tuple(f'{part}.' for part in asked)
        needed = {
            name
            for name in distiller.state_dict()
            if name.startswith(prefixes) and not name.endswith(_UNUSED_IN_EVAL)
        }
        if not self._known.issuperset(needed):
            return True
        self._known.update(parts)
        return False

    def why_random(self, distiller: nn.Module, *parts: str) -> str | None:
        """Return why parts of a distiller cannot predict, None if they can."""
        if not self.are_random(distiller, *parts):
            return None
        return (
            f'{", ".join(parts)} of the {type(distiller).__name__} were never trained or loaded: '
            "get_model, load_checkpoint and a plain file give the student's weights only; train, or "
            'load the file with mmmuse.checkpoints.load_distiller(model, path)'
        )

    def leave_out(self, why: str, data_samples: list) -> list:
        """Say once why N predictions are of the student only, and note it in their ``untrained``."""
        if not self._reported:
            print_log(why, logger='current', level=logging.WARNING)
        self._reported = True
        for sample in data_samples:
            sample.set_field(why, 'untrained')
        return data_samples
