"""The features of one step, and what is known of their shapes at build time."""

from dataclasses import dataclass, field
from math import isqrt

import torch
from torch import Tensor

from mmmuse.errors import InputError
from mmmuse.functional import global_view


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
        targets: What each of ``shallow`` is compared with, by losses that compare two
            networks module by module; None for ``last``.
        last_vector: ``f_T``: ``last`` averaged over its locations, ``(N, C_T)``.
    """

    shallow: tuple[Tensor, ...]
    last: Tensor | None
    logits: Tensor | None = None
    exits: tuple[Tensor, ...] = ()
    extra: dict[str, Tensor] = field(default_factory=dict)
    targets: tuple[Tensor, ...] | None = None
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

    def target(self, index: int) -> Tensor:
        """Return what a shallow feature is compared with."""
        return self.last if self.targets is None else self.targets[index]


@dataclass
class TransferFeatures:
    """What a loss between two networks sees of one step.

    Attributes:
        student: Features of the network that learns.
        teacher: Features of the other one, of the same N images. A frozen teacher's
            give no gradient; a peer's do, unless the loss detaches them.
        data_samples: N samples with the labels.
        ensemble_logits: Mean of the logits of all peers, detached, ``(N, K)``; None
            with a frozen teacher.
    """

    student: DistillFeatures
    teacher: DistillFeatures
    data_samples: list
    ensemble_logits: Tensor | None = None


@dataclass(frozen=True)
class FeatureSpec:
    """Shape of a feature without its batch: channels and, for a map or tokens, the grid.

    Attributes:
        channels: ``C``.
        grid: ``(H, W)``; None for a vector. Tokens are read as a square grid
            behind any prefix (class) tokens.
        num_prefix_tokens: Tokens before the grid; 0 for a map.
    """

    channels: int
    grid: tuple[int, int] | None = None
    num_prefix_tokens: int = 0

    @classmethod
    def of(cls, shape: torch.Size) -> 'FeatureSpec':
        """Describe a feature of the given shape, batch included.

        Raises:
            InputError: If it is no map, tokens or vector.
        """
        if len(shape) == 4:
            return cls(shape[1], (shape[2], shape[3]))
        if len(shape) == 3:
            side = isqrt(shape[1])
            return cls(shape[2], (side, side), shape[1] - side**2)
        if len(shape) == 2:
            return cls(shape[1])
        raise InputError(
            'a feature is a map (N, C, H, W), tokens (N, L, C) or a vector (N, C), '
            f'got shape {tuple(shape)}'
        )


@dataclass(frozen=True)
class NetworkSpecs:
    """Shapes of a network's tapped features.

    Attributes:
        shallow: Of modules 1 to T - 1.
        last: Of module T; None if it is not tapped.
        logits: Of the class logits; None if they are not tapped.
    """

    shallow: tuple[FeatureSpec, ...] = ()
    last: FeatureSpec | None = None
    logits: FeatureSpec | None = None

    @property
    def modules(self) -> tuple[FeatureSpec, ...]:
        """Of modules 1 to T."""
        return (*self.shallow, *(() if self.last is None else (self.last,)))

    @property
    def num_classes(self) -> int | None:
        """Number of class logits; None if they are not tapped."""
        return None if self.logits is None else self.logits.channels
