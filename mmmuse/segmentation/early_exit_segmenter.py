from collections.abc import Callable, Sequence
from functools import partial
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn

from mmmuse.arguments import Fraction, check_value
from mmmuse.errors import InputError
from mmmuse.registry import MODELS
from mmmuse.tapping.path_hooks import PathHooks
from mmmuse.tapping.taps import select_tensor
from mmmuse.tapping.token_maps import as_map

from .exit_inference import with_attributes
from .segmentation_self_distiller import SegmentationSelfDistiller


class _ExitTaken(Exception):  # noqa: N818 - not an error
    """Ends the student's forward with the logits of an exit."""

    def __init__(self, number: int, logits: Tensor) -> None:
        super().__init__()
        self.number = number
        self.logits = logits


class _ImageState:
    """The outputs of the student for one image so far."""

    def __init__(self, size: Sequence[int], metas: list[dict]) -> None:
        self.size = size
        self.metas = metas
        self.maps: dict[str, Tensor] = {}


@MODELS.register_module()
class EarlyExitSegmenter(SegmentationSelfDistiller):
    """A distilled segmenter with early exit: each image takes the first confident exit.

    The confidence of an exit is the mean over the pixels of their largest probability. An image takes an
    exit if it is at least the exit's threshold; the layers after it do not run. Images are
    segmented one by one, so that the skip connections of a U-Net need no part of a batch. Where mmseg
    cuts an image into windows (``test_cfg.mode='slide'``), each window takes its exit.

    A config is the distilled one with another type and thresholds, and its checkpoints load.
    Training is that of the distiller; early exit applies to the mode ``predict``.

    Args:
        thresholds: One for each exit, 0 to 1; None disables an exit, which is then not computed.
        student: Config of mmseg's ``EncoderDecoder``, or the built model.
        *args: Those of :class:`SegmentationSelfDistiller`.
        **kwargs: Those of :class:`SegmentationSelfDistiller`.

    Raises:
        InputError: If the thresholds are not one for each exit in 0 to 1.

    Source: the rule is that of BranchyNet (Teerapittayanon et al., ICPR 2016), with confidence in
    place of entropy. MUSE itself has no early exit.
    """

    def __init__(
        self,
        student: dict | nn.Module,
        *args: Any,
        thresholds: Sequence[Fraction | None] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(student, *args, **kwargs)
        self._states: dict[int, _ImageState] = {}  # By thread: a server may have several.
        self.set_thresholds(thresholds)
        exits = {self.tap_paths.shallow[number - 1]: number for number in self.exit_modules}
        self._exit_hooks = PathHooks(
            self.student,
            {
                path: partial(self._on_forward, path, exits.get(path))
                for path in dict.fromkeys([*self._outputs, *exits])
            },
        )

    def set_thresholds(self, thresholds: Sequence[float | None]) -> None:
        """Set the threshold of each exit.

        Raises:
            InputError: If they are not one for each exit in 0 to 1.
        """
        check_value('EarlyExitSegmenter', 'thresholds', Sequence[Fraction | None], thresholds)
        if len(thresholds) != len(self.exit_modules):
            raise InputError(
                f'EarlyExitSegmenter needs a threshold for each of its {len(self.exit_modules)} exits, '
                f'got {len(thresholds)}'
            )
        self.thresholds = dict(zip(self.exit_modules, thresholds, strict=True))

    def predict(self, inputs: Tensor, data_samples: list | None = None) -> list:
        """Return N samples with ``pred_sem_seg``, ``seg_logits`` and ``exit``.

        ``exit`` is the number of the module whose exit was taken, the deepest one of the image's
        windows; T for the full segmenter.

        Raises:
            InputError: If the exits were never trained or loaded.
        """
        if (why := self.added_weights.why_random(self, 'exits')) is not None:
            raise InputError(why)
        self._exit_hooks.follow(self.student)
        taken = [0] * len(inputs)
        encode_decode = self.student.encode_decode

        def by_image(images: Tensor, metas: list[dict]) -> Tensor:
            results = [
                self._segment(image, metas[i : i + 1], encode_decode)
                for i, image in enumerate(images.split(1))
            ]
            taken[:] = [max(each) for each in zip(taken, (n for _, n in results), strict=True)]
            return torch.cat([logits for logits, _ in results])

        student = with_attributes(self.student, encode_decode=by_image)
        predictions = student.predict(inputs, data_samples)
        for sample, number in zip(predictions, taken, strict=True):
            sample.set_field(number, 'exit')
        return predictions

    def _segment(
        self, image: Tensor, metas: list[dict], encode_decode: Callable
    ) -> tuple[Tensor, int]:
        """Return the logits of one image or window, and the number of its exit."""
        # Of the windows of a batch, mmseg notes the size in the first image only.
        metas = [{**metas[0], 'img_shape': image.shape[2:]}]
        self._states[get_ident()] = _ImageState(image.shape[2:], metas)
        try:
            return encode_decode(image, metas), len(self.tap_paths.shallow) + 1
        except _ExitTaken as taken:
            return taken.logits, taken.number
        finally:
            del self._states[get_ident()]

    def _on_forward(
        self, path: str, number: int | None, module: nn.Module, args: Any, output: Any
    ) -> None:
        state = self._states.get(get_ident())
        if state is None:
            return
        state.maps[path] = select_tensor(path, output)
        threshold = self.thresholds.get(number)
        if threshold is None:
            return
        exit = self.exits[self.exit_modules.index(number)]
        maps = [
            as_map(state.maps[each], state.size, self.tap_specs[each].num_prefix_tokens)
            for each in (*self.reached_outputs(path), path)
        ]
        logits = exit.window_logits(maps, state.metas)
        if confidence(logits) >= threshold:
            raise _ExitTaken(number, logits)


def confidence(logits: Tensor) -> float:
    """Return the mean over the pixels of their largest probability.

    Args:
        logits: ``(1, K, H, W)``; one logit is that of the second of two classes.

    Example:
        >>> round(confidence(torch.tensor([0.75, 0.25]).log().reshape(1, 2, 1, 1)), 4)
        0.75
    """
    if logits.shape[1] == 1:
        present = logits.float().sigmoid()
        return torch.maximum(present, 1 - present).mean().item()
    return logits.float().softmax(1).amax(1).mean().item()
