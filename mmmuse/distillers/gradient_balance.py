from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Literal

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

from mmmuse.arguments import Fraction, PositiveFloat, PositiveInt, with_checked_arguments
from mmmuse.compat.compiling import not_compiled
from mmmuse.errors import InputError
from mmmuse.losses import DistillLoss

from .gradient_length import gradient_square
from .own_total import sum_of_losses

LossBalance = Literal['fixed', 'gradient'] | dict


@with_checked_arguments
class GradientBalance(nn.Module):
    r"""Factors that make the gradients of several losses as long as that of the network's own loss.

    .. math:: b_l = \frac{\lVert g_{own} \rVert}{\lVert g_l \rVert}

    :math:`g_l` is the gradient of loss l, without its ``loss_weight``, in all parameters of the
    student. ``loss_weight`` then is the length of the loss's gradient relative to that of the
    network's own loss. Without an own loss the first loss has the factor 1, and is what the
    others are relative to.

    The gradients are taken in the first step and in every ``interval``-th one, by a backward pass
    for each loss, and also in the first step in which a loss counts with a weight above 0: one that
    starts later, or warms up. What they give holds from the next step on; until then a loss has the factor 1. A
    loss whose gradient is 0 or not finite then (float16) is measured with the others the next time. If the gradient
    of the own loss is not finite, no factor changes. Over processes, squared lengths are averaged.

    Args:
        num_losses: Number of losses.
        interval: Steps between two measurements.
        momentum: Part of the old factor that a measurement keeps; the first one replaces it.
        max_factor: Largest factor, and one over the smallest. Assumed: a loss without gradient
            would have an infinite one.

    Attributes:
        factors: ``(num_losses, )``.
        measured: Whether a loss has a factor from a measurement, ``(num_losses, )``.
        tried: Whether a loss has been measured, with or without a gradient, ``(num_losses, )``.
        step: Number of steps. All four are in the checkpoint.

    Source: own, after the gradient norms of GradNorm (Chen et al., ICML 2018), without its learnt rates.
    """

    def __init__(
        self,
        num_losses: int,
        interval: PositiveInt = 50,
        momentum: Fraction = 0.9,
        max_factor: PositiveFloat = 1000.0,
    ) -> None:
        super().__init__()
        self.interval = interval
        self.momentum = momentum
        self.max_factor = max_factor
        self.register_buffer('factors', torch.ones(num_losses, dtype=torch.float64))
        self.register_buffer('measured', torch.zeros(num_losses, dtype=torch.bool))
        self.register_buffer('tried', torch.zeros(num_losses, dtype=torch.bool))
        self.register_buffer('step', torch.zeros((), dtype=torch.long))
        # Step, factors and losses that have been tried, without a look at the device.
        self._known: tuple[int, list[float], set[int]] | None = None
        self._register_load_state_dict_pre_hook(self._forget)

    def _forget(self, state_dict: dict, prefix: str, *args: object) -> None:
        self._known = None
        if f'{prefix}measured' in state_dict:  # Checkpoints of earlier versions lack ``tried``.
            state_dict.setdefault(f'{prefix}tried', state_dict[f'{prefix}measured'])

    @not_compiled
    def set_factors(self, losses: Sequence[DistillLoss]) -> None:
        """Give each loss its factor for the next step."""
        if self._known is None:
            tried = {i for i, done in enumerate(self.tried.tolist()) if done}
            self._known = int(self.step), self.factors.tolist(), tried
        for loss, factor in zip(losses, self._known[1], strict=True):
            loss.balance = factor

    @not_compiled
    def measure(
        self,
        losses: Sequence[DistillLoss],
        terms: Sequence[Mapping[str, Tensor]],
        own: Mapping[str, object],
        weights: Sequence[float],
        scale: float,
        parameters: Sequence[nn.Parameter],
    ) -> dict[str, Tensor]:
        """Count a step, and measure the gradients if it is one of those.

        Args:
            losses: The losses, with the factors of :meth:`set_factors`.
            terms: Of each loss; empty for one that does not count now.
            own: The network's own losses by name; empty where they are left out.
            weights: Of the losses in this step, with these factors.
            scale: ``task_scale`` of the step.
            parameters: Of the student.

        Returns:
            The factors of this step for the log, ``balance.KDLoss`` and so on.

        Raises:
            InputError: If gradients cannot be taken within the step.
        """
        now, factors, tried = self._known
        counting = [i for i in range(len(losses)) if terms[i] and weights[i]]
        new = [i for i in counting if i not in tried]
        due = new if now % self.interval else counting
        if due:
            self._measure(due, terms, own, weights, scale, parameters)
            factors = self.factors.tolist()
            self.tried[due] = True
            tried.update(due)
        self._known = now + 1, factors, tried
        self.step += 1
        logged: dict[str, Tensor] = {}
        for loss, of_loss in zip(losses, terms, strict=True):
            if of_loss:
                name = f'balance.{loss.name}'
                count = sum(other.split('_')[0] == name for other in logged)
                logged[f'{name}_{count + 1}' if count else name] = parameters[0].new_tensor(
                    loss.balance, requires_grad=False
                )
        return logged

    def _measure(
        self,
        due: Sequence[int],
        terms: Sequence[Mapping[str, Tensor]],
        own: Mapping[str, object],
        weights: Sequence[float],
        scale: float,
        parameters: Sequence[nn.Parameter],
    ) -> None:
        sums = [sum_of_losses(own), *map(sum_of_losses, terms)]
        squares = torch.stack([_square(loss, parameters) for loss in sums])
        all_reduce(squares, 'mean')
        lengths = squares.sqrt().tolist()
        units = [
            length / weight if weight else 0.0
            for length, weight in zip(lengths[1:], weights, strict=True)
        ]
        counting = [i for i, unit in enumerate(units) if isfinite(unit) and unit > 0]
        if not counting or not isfinite(lengths[0]):
            return
        first = counting[0]
        # The own loss, or the first loss at its own weight.
        target = lengths[0] or units[first] * scale
        for i in set(counting).intersection(due):
            factor = target / (units[i] * scale)
            factor = min(max(factor, 1 / self.max_factor), self.max_factor)
            if self.measured[i]:
                factor = self.momentum * float(self.factors[i]) + (1 - self.momentum) * factor
            self.factors[i] = factor
            self.measured[i] = True


def build_balance(config: LossBalance, num_losses: int) -> GradientBalance | None:
    """Build what balances losses; None for fixed weights.

    Args:
        config: ``'fixed'``, ``'gradient'``, or ``dict(type='gradient', interval=50, ...)``.
        num_losses: Number of losses.

    Raises:
        InputError: If it is something else.
    """
    options = {'type': config} if isinstance(config, str) else dict(config)
    kind = options.pop('type', None)
    if kind not in ('fixed', 'gradient') or (kind == 'fixed' and options):
        raise InputError(
            "loss_balance is 'fixed', 'gradient' or dict(type='gradient', interval=50, momentum=0.9), "
            f'got {config!r}'
        )
    return GradientBalance(num_losses, **options) if kind == 'gradient' else None


def _square(loss: Tensor | float, parameters: Sequence[nn.Parameter]) -> Tensor:
    """Return the squared length of a loss's gradient, in float64."""
    zero = parameters[0].new_zeros((), dtype=torch.float64)
    if not isinstance(loss, Tensor) or not loss.requires_grad:
        return zero
    try:
        square = gradient_square(loss, parameters)
    except RuntimeError as error:
        raise InputError(
            "loss_balance='gradient' takes gradients within a step, which reentrant checkpointing "
            f"and torch.compile do not allow: set loss_balance='fixed' ({error})"
        ) from error
    return zero if square is None else square.double()
