from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from threading import get_ident
from typing import Any

import torch
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmmuse.errors import InputError
from mmmuse.registry import MODELS
from mmmuse.tapping.dry_run import dry_run, frozen_in_eval
from mmmuse.tapping.taps import resolve_tap, select_tensor

from .self_distiller import SelfDistiller


class _AllHaveLeft(Exception):  # noqa: N818 - no error: it ends a forward that nobody needs
    """Raised out of the student's forward when no image is left in it."""


@MODELS.register_module()
class EarlyExitClassifier(SelfDistiller):
    """A distilled classifier whose images leave at the first exit that is sure of them.

    An image leaves exit i when the largest probability there is at least the
    exit's threshold. The layers behind it run with the other images alone, and
    not at all when none is left: one image, or a batch of any size. What an
    image gets does not depend on the batch it is in.

    Takes the arguments of :class:`SelfDistiller`, so a config is the distilled
    one with another type and thresholds, and its checkpoints load. Training is
    that of the distiller; ``tensor`` and ``predict`` leave early.

    Args:
        thresholds: One for each of the T - 1 exits, 0 to 1; None for an exit
            that is not looked at, and not computed.
            ``tools/analysis/early_exit.py`` chooses them for a wanted cost.
        student: Config of an mmpretrain classifier, or the built model.
        *args: Those of :class:`SelfDistiller`.
        **kwargs: Those of :class:`SelfDistiller`.

    Raises:
        InputError: If the thresholds are not one for each exit in 0 to 1, or an
            image cannot leave at a tapped module because the batch goes past
            that module on another way.

    Source: the rule is that of BranchyNet (Teerapittayanon et al., ICPR 2016),
    with confidence in place of entropy as in MSDNet (Huang et al., ICLR 2018).
    MUSE does not leave early; its exits do not need it to.
    """

    def __init__(
        self,
        student: dict | nn.Module,
        *args,
        thresholds: Sequence[float | None] | None = None,
        **kwargs,
    ) -> None:
        super().__init__(student, *args, **kwargs)
        self._leaving: dict[int, _Leaving] = {}  # By thread: a server may have several.
        for i, path in enumerate(self.tap_paths.shallow):
            resolve_tap(self.student, path).register_forward_hook(partial(self._at_exit, i, path))
        self.set_thresholds(thresholds)
        with frozen_in_eval(self):
            dry_run(self.student, self._check_ways, kwargs.get('input_shape'), mode='tensor')

    def set_thresholds(self, thresholds: Sequence[float | None]) -> None:
        """Set the threshold of each exit.

        Raises:
            InputError: If they are not one for each exit in 0 to 1.
        """
        total = len(self.head.exits)
        if not isinstance(thresholds, Sequence) or isinstance(thresholds, str):
            raise InputError(
                f'EarlyExitClassifier needs thresholds, a list of {total} numbers, got {thresholds!r}'
            )
        thresholds = tuple(thresholds)
        if len(thresholds) != total or not total:
            raise InputError(
                f'EarlyExitClassifier needs a threshold for each of its {total} exits, '
                f'got {len(thresholds)}'
            )
        if not all(
            threshold is None or (isinstance(threshold, (int, float)) and 0 <= threshold <= 1)
            for threshold in thresholds
        ):
            raise InputError(f'thresholds are None or 0 to 1, got {list(thresholds)}')
        self.thresholds = thresholds

    def forward(
        self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'
    ) -> Any:
        """Return logits ``(N, K)`` in ``tensor`` mode, else losses or predictions."""
        if mode == 'tensor':
            return self.leave_early(inputs)[0]
        return super().forward(inputs, data_samples, mode)

    def predict(self, inputs: Tensor, data_samples: list | None = None) -> list:
        """Return N samples with ``pred_score``, ``pred_label`` and ``exit``, 1 to T."""
        logits, exits = self.leave_early(inputs)
        scores = logits.softmax(-1)
        if data_samples is None:
            data_samples = [DataSample() for _ in scores]
        for data_sample, score, label, exit in zip(
            data_samples, scores, scores.argmax(1, keepdim=True), exits.tolist()
        ):
            data_sample.set_pred_score(score).set_pred_label(label)
            data_sample.set_field(exit, 'exit')
        return data_samples

    def leave_early(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Run each image as far as it has to go.

        Args:
            images: ``(N, C, H, W)``, normalised.

        Returns:
            Logits ``(N, K)`` of the exit at which each image left, and the
            number of that exit ``(N, )``, 1 to T.
        """

        def decide(i: int, logits: Tensor) -> Tensor:
            return logits.softmax(-1).amax(-1) >= self.thresholds[i]

        looked_at = {i for i, threshold in enumerate(self.thresholds) if threshold is not None}
        return self._run(images, looked_at, decide)

    def _run(
        self, images: Tensor, looked_at: set[int], decide: Callable[[int, Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        with self._active(_Leaving(len(images), images.device, looked_at, decide)) as leaving:
            with suppress(_AllHaveLeft):
                leaving.leave(len(self.head.exits), self.student(images, mode='tensor'))
            return leaving.result()

    @contextmanager
    def _active(self, leaving: '_Leaving') -> Iterator['_Leaving']:
        self._leaving[get_ident()] = leaving
        try:
            yield leaving
        finally:
            del self._leaving[get_ident()]

    def _at_exit(self, i: int, path: str, module: nn.Module, args: Any, output: Any) -> Any:
        leaving = self._leaving.get(get_ident())
        if leaving is None or i not in leaving.looked_at:
            return None
        feature = select_tensor(path, output)
        logits = self.head.one_exit(i, self.neck.one(i, feature))
        stay = leaving.leave(i, logits, leaving.decide(i, logits))
        if stay is None:
            return None
        if not len(stay):
            raise _AllHaveLeft
        return _rows(output, stay, len(feature))

    def _check_ways(self, forward: Callable[[], object], shape: tuple[int, ...]) -> None:
        """See at each exit that the image which stays is not touched by the one that leaves."""
        parameter = next(self.student.parameters())
        images = torch.linspace(-1, 1, 2 * shape[0] * shape[1] * shape[2]).reshape(2, *shape)
        images = images.to(parameter)
        alone = self.student(images[1:], mode='tensor')
        for i, path in enumerate(self.tap_paths.shallow):
            try:
                logits, _ = self._run(images, {i}, lambda i, logits: logits.new_tensor([1, 0]) > 0)
                same = torch.allclose(logits[1:], alone, rtol=1e-3, atol=1e-3)
            except (RuntimeError, IndexError):  # Batches of two sizes met.
                same = False
            if not same:
                raise InputError(
                    f'images cannot leave at {path!r}: the batch goes past that module on another '
                    'way, so it cannot become smaller there'
                )


class _Leaving:
    """The images of one batch: which are still in the network, and with what the others left."""

    def __init__(
        self,
        num_images: int,
        device: torch.device,
        looked_at: set[int],
        decide: Callable[[int, Tensor], Tensor],
    ) -> None:
        self.looked_at = looked_at
        self.decide = decide
        self.inside = torch.arange(num_images, device=device)
        self.left: list[tuple[Tensor, Tensor, Tensor]] = []

    def leave(self, i: int, logits: Tensor, sure: Tensor | None = None) -> Tensor | None:
        """Let the images that are sure leave at an exit; all of them by default.

        Returns:
            The places of those that stay; None if all do.
        """
        count = len(logits) if sure is None else int(sure.sum())
        if count == 0:
            return None
        if count == len(logits):  # No image is moved, as with one alone.
            self.left.append((self.inside, logits, torch.full_like(self.inside, i + 1)))
            return self.inside[:0]
        who = self.inside[sure]
        self.left.append((who, logits[sure], torch.full_like(who, i + 1)))
        stay = (~sure).nonzero().flatten()
        self.inside = self.inside[stay]
        return stay

    def result(self) -> tuple[Tensor, Tensor]:
        """Return logits and exit numbers in the order of the batch."""
        if len(self.left) == 1:
            return self.left[0][1:]
        who, logits, exits = (torch.cat(parts) for parts in zip(*self.left))
        order = who.argsort()
        return logits[order], exits[order]


def _rows(output: Any, stay: Tensor, num_images: int) -> Any:
    """Return a module's output for the images that stay."""
    if isinstance(output, Tensor):
        if output.ndim and len(output) == num_images:
            return output.index_select(0, stay)
        return output
    if isinstance(output, (tuple, list)):
        return type(output)(_rows(item, stay, num_images) for item in output)
    return output
