"""The features of one step, and what is known of their shapes at build time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mmmuse.errors import InputError
from mmmuse.functional import global_view

from .dense_head import HeadPass, HeadSpec
from .logits_kind import LogitsKind
from .token_maps import grid_of_tokens


@dataclass
class DistillFeatures:
    """What the losses of one step see.

    Attributes:
        shallow: Raw features of modules 1 to T - 1 (``F_i``): maps
            ``(N, C_i, H_i, W_i)``, tokens ``(N, L_i, C_i)`` or vectors.
        last: Raw feature of module T, or of another network; None where no loss
            reads features.
        logits: Logits of the last exit (``z_T``), ``(N, K)``, if tapped.
        exits: The neck's maps ``(N, C_T, h, w)``, one per shallow module; empty
            without a neck.
        extra: What a distiller taps beside them, by module path.
        head: The forward of a detector's dense head, if a loss reads it.
        last_vector: ``f_T``: ``last`` averaged over its locations, ``(N, C_T)``.
    """

    shallow: tuple[Tensor, ...] = ()
    last: Tensor | None = None
    logits: Tensor | None = None
    exits: tuple[Tensor, ...] = ()
    extra: dict[str, Tensor] = field(default_factory=dict)
    head: HeadPass | None = None
    last_vector: Tensor | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.last is not None:
            self.last_vector = global_view(self.last)

    @property
    def modules(self) -> tuple[Tensor, ...]:
        """Features of modules 1 to T: the shallow ones and the last."""
        return (*self.shallow, *(() if self.last is None else (self.last,)))

    def detached(self) -> 'DistillFeatures':
        """Return the raw features and logits without their gradient."""
        last, logits = (None if x is None else x.detach() for x in (self.last, self.logits))
        return DistillFeatures(tuple(x.detach() for x in self.shallow), last, logits)


@dataclass(frozen=True)
class Step:
    """What the losses of one edge see of one training step.

    Attributes:
        learner: Features of the network that learns.
        source: Features of what it learns from, of the same N images: another network's, or
            the same object as ``learner``, whose last feature then teaches its modules. A
            frozen network's give no gradient; a peer's do, unless a loss detaches them.
        data_samples: N samples with the labels.
        ensemble_logits: Mean of the logits of all peers, detached, ``(N, K)``; None with a
            frozen source.
        task_scale: Factor that the learner's own loss has against a mean over images: for a
            detector such as YOLOv5, whose losses are multiplied by the batch size, the number
            of images in the batch over all processes. Weights are relative to it, so that
            they mean the same everywhere.
    """

    learner: DistillFeatures
    source: DistillFeatures
    data_samples: Sequence = ()
    ensemble_logits: Tensor | None = None
    task_scale: float = 1.0

    @classmethod
    def within(cls, features: DistillFeatures, *args: Any, **kwargs: Any) -> 'Step':
        """Return the step of a network that learns from itself."""
        return cls(features, features, *args, **kwargs)


@dataclass(frozen=True)
class FeatureSpec:
    """Shape of a feature without its batch: channels and, for a map or tokens, the grid.

    Attributes:
        channels: ``C``.
        grid: ``(H, W)``; None for a vector. Tokens are read as a grid of the image's aspect ratio
            after any prefix (class) tokens.
        num_prefix_tokens: Tokens before the grid; 0 for a map.
        path: Of the tapped module, for messages.
    """

    channels: int
    grid: tuple[int, int] | None = None
    num_prefix_tokens: int = 0
    path: str = field(default='', compare=False)

    @classmethod
    def of(cls, shape: torch.Size, path: str = '', image: Sequence[int] = (1, 1)) -> 'FeatureSpec':
        """Describe a feature of the given shape, batch included, of an image ``(H, W)``.

        Raises:
            InputError: If it is not a map, tokens or a vector.
        """
        if len(shape) == 4:
            return cls(shape[1], (shape[2], shape[3]), path=path)
        if len(shape) == 3:
            return cls(shape[2], *grid_of_tokens(shape[1], image), path)
        if len(shape) == 2:
            return cls(shape[1], path=path)
        raise InputError(
            'a feature is a map (N, C, H, W), tokens (N, L, C) or a vector (N, C), '
            f'got shape {tuple(shape)}'
        )


@dataclass(frozen=True)
class NetworkSpecs:
    """Shapes of a network's tapped features.

    Attributes:
        shallow: Specs of modules 1 to T - 1.
        last: Spec of module T; None if it is not tapped.
        logits: Spec of the class logits; None if they are not tapped.
        taps: Config key of the network's taps, for messages.
        ensemble: Whether a step has the mean logits of all peers.
        image: ``(H, W)`` of the image that the shapes are of, for strides; None if it is not known.
        head: Of a detector's dense head; None if there is none, or it cannot be read.
        kind: What the logits mean; see :func:`mmmuse.tapping.logits_kind.logits_kind`.
        no_logits: Why the network has no class logits to tap; None if that is not known.
    """

    shallow: tuple[FeatureSpec, ...] = ()
    last: FeatureSpec | None = None
    logits: FeatureSpec | None = None
    taps: str = field(default='taps', compare=False)
    ensemble: bool = False
    kind: LogitsKind = 'classes'
    image: tuple[int, int] | None = field(default=None, compare=False)
    head: HeadSpec | None = None
    no_logits: str | None = field(default=None, compare=False)

    @property
    def modules(self) -> tuple[FeatureSpec, ...]:
        """Specs of modules 1 to T."""
        return (*self.shallow, *(() if self.last is None else (self.last,)))

    @property
    def num_classes(self) -> int | None:
        """Number of class logits; None if they are not tapped."""
        return None if self.logits is None else self.logits.channels
