"""Choose the smallest exit that is good enough."""

from collections.abc import Mapping
from typing import NamedTuple

from mmmuse.errors import InputError

_DIGITS = 4  # Of accuracies that are compared, which differ in rounding to float32.


class ExitChoice(NamedTuple):
    """The smallest exit that is good enough.

    Attributes:
        needed: The accuracy that it needs.
        number: Of the exit; None if none reaches it, the full network included.
        by_cost: Whether smallest means lowest cost; otherwise the first in depth.
        good: The exits that reach it.
    """

    needed: float
    number: int | None
    by_cost: bool
    good: tuple[int, ...]


def choose_exit(
    accuracy: Mapping[int, float], needed: float, cost: Mapping[int, float] | None = None
) -> ExitChoice:
    """Return the smallest exit of at least some accuracy.

    Args:
        accuracy: Of each exit by its number, the full network included.
        needed: In the same unit.
        cost: Of each exit, such as multiply-adds; without it the exit of lowest number is chosen.

    Raises:
        InputError: If there are no exits.

    Example:
        >>> choose_exit({1: 70.0, 2: 75.0, 3: 76.0}, 75.0, {1: 10, 2: 20, 3: 30})
        ExitChoice(needed=75.0, number=2, by_cost=True, good=(2, 3))
    """
    if not accuracy:
        raise InputError('the run has no exits to choose from')
    known = cost is not None and all(number in cost for number in accuracy)
    good = [n for n, value in accuracy.items() if round(value, _DIGITS) >= round(needed, _DIGITS)]
    number = min(good, key=lambda n: (cost[n] if known else 0, n), default=None)
    return ExitChoice(needed, number, known, tuple(good))
