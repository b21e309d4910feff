"""Thresholds of early exits for a wanted average cost, and what they give."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmmuse.errors import InputError


class ExitRecord(NamedTuple):
    """What every exit says of N images.

    Attributes:
        confidence: The largest probability at exits 1 to T - 1, ``(N, T - 1)``.
        correct: Whether each of the T exits is right, bool ``(N, T)``.
    """

    confidence: np.ndarray
    correct: np.ndarray

    def take(self, rows: slice) -> 'ExitRecord':
        """Return the record of some of the images."""
        return ExitRecord(self.confidence[rows], self.correct[rows])


def leaving_costs(
    trunk_macs: Sequence[int], exit_macs: Sequence[int], looked_at: Sequence[bool]
) -> np.ndarray:
    """Return what an image costs that leaves at each exit: the way there and the exits on it.

    Args:
        trunk_macs: Multiply-adds of the backbone up to each exit, T values; the
            last is the whole network with its classifier.
        exit_macs: Multiply-adds of each exit's bottleneck and classifier, T - 1 values.
        looked_at: Whether each of them is looked at, T - 1 values.

    Returns:
        T values, multiply-adds.

    Example:
        >>> leaving_costs([10, 20, 30], [1, 2], [True, True]).tolist()
        [11, 23, 33]
        >>> leaving_costs([10, 20, 30], [1, 2], [False, True]).tolist()
        [10, 22, 32]
    """
    heads = np.cumsum(np.where(looked_at, exit_macs, 0))
    return np.asarray(trunk_macs) + np.append(heads, heads[-1])


def leaving_exits(confidence: np.ndarray, thresholds: Sequence[float | None]) -> np.ndarray:
    """Return the exit at which each image leaves, counted from 0.

    Args:
        confidence: ``(N, T - 1)``.
        thresholds: T - 1 values; None for an exit that is not looked at.

    Example:
        >>> leaving_exits(np.array([[0.9, 0.5], [0.2, 0.8], [0.1, 0.1]]), [0.7, 0.6]).tolist()
        [0, 1, 2]
    """
    limits = np.array([np.inf if threshold is None else threshold for threshold in thresholds])
    sure = np.column_stack([confidence >= limits, np.ones(len(confidence), dtype=bool)])
    return sure.argmax(1)


def thresholds_for_cost(
    confidence: np.ndarray, costs: np.ndarray, looked_at: Sequence[bool], wanted: float
) -> list[float | None]:
    r"""Choose thresholds with which a set of images costs a wanted average.

    Of the images that come to an exit about the same share leaves at each,
    those that it is most sure of:

    .. math::
        p_i \propto q^{i}, \qquad \sum_i p_i c_i = c

    where :math:`p_i` is the share of all images that leaves at exit i,
    :math:`c_i` what they cost, and q is found by bisection.

    Args:
        confidence: On a validation set, ``(N, T - 1)``.
        costs: :math:`c_i` in any unit, ``(T, )``; see :func:`leaving_costs`.
        looked_at: Which of the T - 1 exits are looked at.
        wanted: :math:`c`, in the same unit.

    Returns:
        T - 1 thresholds; None for an exit that is not looked at, or at which
        nobody leaves. Images of the same confidence leave together, so where
        many have the same the average may be another one.

    Raises:
        InputError: If no choice costs that little or that much.

    Source: MSDNet (Huang et al., ICLR 2018), section 5, budgeted batch
    classification.
    """
    places = [i for i, looked in enumerate([*looked_at, True]) if looked]
    usable = costs[places]
    if not usable.min() <= wanted <= usable.max():
        raise InputError(
            f'an average cost of {wanted:.3g} cannot be had: leaving at the first exit costs '
            f'{usable.min():.3g}, at the last {usable.max():.3g}'
        )

    def shares(log_q: float) -> np.ndarray:
        powers = log_q * np.arange(len(places))
        weights = np.exp(powers - powers.max())
        return weights / weights.sum()

    low, high = -50.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if shares(middle) @ usable < wanted else (low, middle)
    thresholds: list[float | None] = [None] * confidence.shape[1]
    inside = np.arange(len(confidence))
    for place, share in zip(places[:-1], shares(low)):
        count = min(round(share * len(confidence)), len(inside))
        ordered = inside[np.argsort(-confidence[inside, place], kind='stable')]
        if count == 0:
            continue
        thresholds[place] = float(confidence[ordered[count - 1], place])
        inside = inside[confidence[inside, place] < thresholds[place]]
    return thresholds


class EarlyExitPoint(NamedTuple):
    """What one choice of thresholds gives on a set of images.

    Attributes:
        thresholds: Of the T - 1 exits.
        accuracy: Top-1, in percent.
        cost: Average, in the unit of the costs.
        shares: Of the images that leave at each of the T exits.
    """

    thresholds: list[float | None]
    accuracy: float
    cost: float
    shares: list[float]


def evaluate_thresholds(
    record: ExitRecord, costs: np.ndarray, thresholds: list[float | None]
) -> EarlyExitPoint:
    """Return what thresholds give on a set of images; choose them on another one.

    Args:
        record: Of the images.
        costs: Of leaving at each exit, ``(T, )``.
        thresholds: T - 1 values.
    """
    exits = leaving_exits(record.confidence, thresholds)
    return EarlyExitPoint(
        thresholds,
        float(100 * record.correct[np.arange(len(exits)), exits].mean()),
        float(costs[exits].mean()),
        [float((exits == i).mean()) for i in range(len(costs))],
    )


def gain_over_fixed_exits(
    cost: float, accuracy: float, fixed_costs: Sequence[float], fixed_accuracies: Sequence[float]
) -> float | None:
    """Return how far a point lies above the straight line between its neighbouring fixed exits.

    Args:
        cost: Average cost of the point.
        accuracy: Its accuracy, in percent.
        fixed_costs: Of the exits as networks of their own, in any order.
        fixed_accuracies: Theirs.

    Returns:
        Percentage points; None outside the fixed exits.

    Example:
        >>> gain_over_fixed_exits(15, 60, [10, 20], [50, 60])
        5.0
    """
    order = np.argsort(fixed_costs)
    costs, accuracies = np.asarray(fixed_costs)[order], np.asarray(fixed_accuracies)[order]
    if not costs[0] <= cost <= costs[-1]:
        return None
    return float(accuracy - np.interp(cost, costs, accuracies))
