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
        last_vector: ``f_T``: ``last`` averaged over its locations, ``(N, C_T)``.
    """

    shallow: tuple[Tensor, ...]
    last: Tensor | None
    logits: Tensor | None = None
    exits: tuple[Tensor, ...] = ()
    extra: dict[str, Tensor] = field(default_factory=dict)
    last_vector: Tensor | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.last is not None:
            self.last_vector = global_view(self.last)


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
