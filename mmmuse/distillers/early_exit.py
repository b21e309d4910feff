from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from threading import get_ident
from typing import Any

import torch
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmmuse.arguments import Fraction, check_value
from mmmuse.errors import InputError
from mmmuse.registry import MODELS
from mmmuse.tapping.dry_run import dry_run, frozen_in_eval
from mmmuse.tapping.path_hooks import PathHooks
from mmmuse.tapping.taps import select_tensor
from mmmuse.tapping.token_maps import with_grids

from .self_distiller import SelfDistiller


class _BatchDone(Exception):  # noqa: N818 - not an error
    """Ends the student's forward when every image of the batch has its result."""


@MODELS.register_module()
class EarlyExitClassifier(SelfDistiller):
    """A distilled classifier with early exit: each image takes the first confident exit.

    An image takes exit i if the largest probability there is at least the exit's threshold. The
    layers after the exit run on the remaining images only, or not at all if none remains. The
    result of an image does not depend on its batch, which may have any size.

    The arguments are those of :class:`SelfDistiller`: a config is the distilled one with another
    type and thresholds, and its checkpoints load. Training is that of the distiller; early exit
    applies to the modes ``tensor`` and ``predict``.

    Args:
        thresholds: One for each of the T - 1 exits, 0 to 1; None disables an exit, which is then
            not computed. ``mmmuse early-exit`` chooses them for a given average cost.
        student: Config of an mmpretrain classifier, or the built model.
        *args: Those of :class:`SelfDistiller`.
        **kwargs: Those of :class:`SelfDistiller`.

    Raises:
        InputError: If the thresholds are not one for each exit in 0 to 1, part of the network
            bypasses a tapped module (a residual connection, say), or the exits are multi-label.

    Source: the rule is that of BranchyNet (Teerapittayanon et al., ICPR 2016), with confidence in
    place of entropy as in MSDNet (Huang et al., ICLR 2018). MUSE itself has no early exit.
    """

    def __init__(
        self,
        student: dict | nn.Module,
        *args,
        thresholds: Sequence[Fraction | None] | None = None,
        **kwargs,
    ) -> None:
        super().__init__(student, *args, **kwargs)
        if self.muse is not None and self.muse.multi_label:
            raise InputError(
                'EarlyExitClassifier compares the largest probability of an exit with its threshold, '
                'and a multi-label head has one probability for each class'
            )
        self._states: dict[int, _ExitState] = {}  # By thread: a server may have several.
        self._exit_hooks = PathHooks(
            self.student,
            {
                path: partial(self._at_exit, i, path)
                for i, path in enumerate(self.tap_paths.shallow)
            },
        )
        self.set_thresholds(thresholds)
        with frozen_in_eval(self):
            dry_run(self.student, self._check_exits, kwargs.get('input_shape'), mode='tensor')

    def set_thresholds(self, thresholds: Sequence[float | None]) -> None:
        """Set the threshold of each exit.

        Raises:
            InputError: If they are not one for each exit in 0 to 1.
        """
        total = len(self.muse.exits)
        check_value('EarlyExitClassifier', 'thresholds', Sequence[Fraction | None], thresholds)
        thresholds = tuple(thresholds)
        if len(thresholds) != total or not total:
            raise InputError(
                f'EarlyExitClassifier needs a threshold for each of its {total} exits, '
                f'got {len(thresholds)}'
            )
        self.thresholds = thresholds

    def forward(
        self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'
    ) -> Any:
        """Return logits ``(N, K)`` in ``tensor`` mode, else losses or predictions."""
        if mode == 'tensor':
            return self.classify(inputs)[0]
        return super().forward(inputs, data_samples, mode)

    def predict(self, inputs: Tensor, data_samples: list | None = None) -> list:
        """Return N samples with ``pred_score``, ``pred_label`` and ``exit``, 1 to T."""
        logits, exits = self.classify(inputs)
        scores = logits.softmax(-1)
        if data_samples is None:
            data_samples = [DataSample() for _ in scores]
        for data_sample, score, label, exit in zip(
            data_samples, scores, scores.argmax(1, keepdim=True), exits.tolist(), strict=True
        ):
            data_sample.set_pred_score(score).set_pred_label(label)
            data_sample.set_field(exit, 'exit')
        return data_samples

    def classify(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Run each image up to the exit that it takes.

        Args:
            images: ``(N, C, H, W)``, normalised.

        Returns:
            Logits ``(N, K)`` of the exit that each image takes, and the number of that exit
            ``(N, )``, 1 to T.

        Raises:
            InputError: If the exits were never trained or loaded.
        """

        if (why := self.added_weights.why_random(self, 'adapters', 'muse.exits')) is not None:
            raise InputError(why)

        def decide(i: int, logits: Tensor) -> Tensor:
            return logits.softmax(-1).amax(-1) >= self.thresholds[i]

        enabled = {i for i, threshold in enumerate(self.thresholds) if threshold is not None}
        return self._run(images, enabled, decide)

    def _run(
        self, images: Tensor, enabled: set[int], decide: Callable[[int, Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        self._exit_hooks.follow(self.student)
        with self._active(_ExitState(images, enabled, decide)) as state:
            with suppress(_BatchDone):
                state.take(len(self.muse.exits), self.student(images, mode='tensor'))
            return state.result()

    @contextmanager
    def _active(self, state: '_ExitState') -> Iterator['_ExitState']:
        self._states[get_ident()] = state
        try:
            yield state
        finally:
            del self._states[get_ident()]

    def _at_exit(self, i: int, path: str, module: nn.Module, args: Any, output: Any) -> Any:
        state = self._states.get(get_ident())
        if state is None or i not in state.enabled:
            return None
        feature = select_tensor(path, output)
        prefix = {path: self.tap_specs[path].num_prefix_tokens}
        feature = with_grids({path: feature}, prefix, state.size)[path]
        logits = self.muse.one_exit(i, self.adapters.one(i, feature))
        rows = state.take(i, logits, state.decide(i, logits))
        if rows is None:
            return None
        if not len(rows):
            raise _BatchDone
        return _select_rows(output, rows, len(feature))

    def _check_exits(self, forward: Callable[[], object], shape: tuple[int, ...]) -> None:
        """Check at each exit that dropping one of two images does not change the other's logits."""
        parameter = next(self.student.parameters())
        images = torch.linspace(-1, 1, 2 * shape[0] * shape[1] * shape[2]).reshape(2, *shape)
        images = images.to(parameter)
        expected = self.student(images[1:], mode='tensor')
        for i, path in enumerate(self.tap_paths.shallow):
            try:
                logits, _ = self._run(images, {i}, lambda i, logits: logits.new_tensor([1, 0]) > 0)
                same = torch.allclose(logits[1:], expected, rtol=1e-3, atol=1e-3)
            except (RuntimeError, IndexError):  # Two batch sizes were combined.
                same = False
            if not same:
                raise InputError(
                    f'no early exit at {path!r}: part of the network bypasses this module, so the '
                    'batch cannot become smaller there'
                )


class _ExitState:
    """The images of one batch: those still in the network, and the results of the others."""

    def __init__(
        self,
        images: Tensor,
        enabled: set[int],
        decide: Callable[[int, Tensor], Tensor],
    ) -> None:
        self.enabled = enabled
        self.decide = decide
        self.size = images.shape[2:]
        self.remaining = torch.arange(len(images), device=images.device)
        self.results: list[tuple[Tensor, Tensor, Tensor]] = []

    def take(self, i: int, logits: Tensor, confident: Tensor | None = None) -> Tensor | None:
        """Store the logits of the confident images, all by default, and drop these images.

        Returns:
            The rows of the images that remain; None if none was confident.
        """
        count = len(logits) if confident is None else int(confident.sum())
        if count == 0:
            return None
        if count == len(logits):  # Without indexing, for a single image above all.
            self.results.append((self.remaining, logits, torch.full_like(self.remaining, i + 1)))
            return self.remaining[:0]
        images = self.remaining[confident]
        self.results.append((images, logits[confident], torch.full_like(images, i + 1)))
        rows = (~confident).nonzero().flatten()
        self.remaining = self.remaining[rows]
        return rows

    def result(self) -> tuple[Tensor, Tensor]:
        """Return logits and exit numbers in the order of the batch."""
        if len(self.results) == 1:
            return self.results[0][1:]
        images, logits, exits = (torch.cat(parts) for parts in zip(*self.results, strict=True))
        order = images.argsort()
        return logits[order], exits[order]


def _select_rows(output: Any, rows: Tensor, num_images: int) -> Any:
    """Return some rows of each tensor in a module's output whose first axis is the batch."""
    if isinstance(output, Tensor):
        if output.ndim and len(output) == num_images:
            return output.index_select(0, rows)
        return output
    if isinstance(output, (tuple, list)):
        return type(output)(_select_rows(item, rows, num_images) for item in output)
    return output
