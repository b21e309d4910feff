"""What estimates of MUSE lose when critics score a sample of the locations instead of every one."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from statistics import mean, variance
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmmuse.critics import GlobalLocalCritic
from mmmuse.distillers import SelfDistiller
from mmmuse.errors import InputError


class Spread(NamedTuple):
    """Variances of a training step's loss and gradients.

    Those of a gradient are sums over its elements.

    Attributes:
        loss: Of ``loss_muse``.
        critics: Of the gradient of the whole loss on the critics.
        student: Of the gradient of the whole loss on the student.
    """

    loss: float
    critics: float
    student: float


class SamplingSpread(NamedTuple):
    """Variances by their cause.

    Attributes:
        of_batches: Between batches of images, with every location scored.
        of_draws: By number of locations of an image: between draws of the locations of one batch,
            as the mean square difference from the figure with every location.
    """

    of_batches: Spread
    of_draws: dict[int, Spread]


def location_sampling_spread(
    distiller: SelfDistiller,
    batches: Iterable[Any],
    numbers: Sequence[int],
    draws: int = 4,
) -> SamplingSpread:
    """Measure how much loss and gradients vary with the drawn locations, and with the batch.

    The distiller is in training mode; no weight changes, its running statistics do. A draw is
    unbiased, so what it adds to the noise of a training step is ``of_draws`` beside ``of_batches``.

    Args:
        distiller: With critics that have learnt, whose losses are those of a training step.
        batches: Of a data loader, at least two.
        numbers: Of locations of each image.
        draws: Of each batch and number.

    Raises:
        InputError: If the distiller has no ``GlobalLocalCritic``, or there are fewer than two
            batches.
    """
    critics = [part for part in distiller.modules() if isinstance(part, GlobalLocalCritic)]
    if not critics:
        raise InputError('the model has no mmmuse.GlobalLocalCritic')
    distiller.train()
    full: list[_Step] = []
    differences: dict[int, list[Spread]] = {number: [] for number in numbers}
    for batch in batches:
        with _with_num_locations(critics, None):
            full.append(_step(distiller, critics, batch))
        for number in numbers:
            with _with_num_locations(critics, number):
                differences[number] += [
                    _squared(_step(distiller, critics, batch), full[-1]) for _ in range(draws)
                ]
    if len(full) < 2:
        raise InputError(f'the spread of batches needs at least two, got {len(full)}')
    return SamplingSpread(
        _between(full),
        {
            number: Spread(*(mean(figure) for figure in zip(*found, strict=True)))
            for number, found in differences.items()
        },
    )


class _Step(NamedTuple):
    loss: float
    critics: Tensor
    student: Tensor


def _step(distiller: SelfDistiller, critics: list[nn.Module], batch: Any) -> _Step:
    """Return the loss of MUSE and the gradients of the whole loss, each as one vector."""
    data = distiller.data_preprocessor(batch, training=True)
    losses = distiller(**data, mode='loss')
    total, _ = distiller.parse_losses(losses)
    own = [weight for critic in critics for weight in critic.parameters()]
    student = [weight for weight in distiller.student.parameters() if weight.requires_grad]
    gradients = torch.autograd.grad(total, [*own, *student])
    flat = [gradient.detach().flatten() for gradient in gradients]
    return _Step(
        losses['loss_muse'].item(), torch.cat(flat[: len(own)]), torch.cat(flat[len(own) :])
    )


def _squared(one: _Step, other: _Step) -> Spread:
    return Spread(
        (one.loss - other.loss) ** 2,
        (one.critics - other.critics).square().sum().item(),
        (one.student - other.student).square().sum().item(),
    )


def _between(steps: list[_Step]) -> Spread:
    """Return the unbiased variance between the steps."""
    gradients = (
        torch.stack(side).var(0).sum().item() for side in list(zip(*steps, strict=True))[1:]
    )
    return Spread(variance(step.loss for step in steps), *gradients)


@contextmanager
def _with_num_locations(critics: list[GlobalLocalCritic], number: int | None) -> Iterator[None]:
    """Let all critics score this many locations of an image, as long as the context lasts."""
    before = [critic.num_locations for critic in critics]
    try:
        for critic in critics:
            critic.num_locations = number
        yield
    finally:
        for critic, own in zip(critics, before, strict=True):
            critic.num_locations = own
