"""Thresholds of early exits for a given average cost, and their accuracy and cost."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmmuse.errors import InputError


class ExitRecord(NamedTuple):
    """Confidence and correctness of every exit on N images.

    Attributes:
        confidence: The largest probability at exits 1 to T - 1, ``(N, T - 1)``.
        correct: Whether each of the T exits predicts the label, bool ``(N, T)``.
    """

    confidence: np.ndarray
    correct: np.ndarray

    def take(self, rows: slice) -> 'ExitRecord':
        """Return the record of some of the images."""
        return ExitRecord(self.confidence[rows], self.correct[rows])


def cumulative_costs(
    trunk_macs: Sequence[int], exit_macs: Sequence[int], enabled: Sequence[bool]
) -> np.ndarray:
    """Return the cost of an image that takes each exit: the backbone and the exits so far.

    Args:
        trunk_macs: Multiply-adds of the backbone up to each exit, T values; the
            last is the full network with its classifier.
        exit_macs: Multiply-adds of each exit's bottleneck and classifier, T - 1 values.
        enabled: Whether each of them is computed, T - 1 values.

    Returns:
        T values, multiply-adds.

    Example:
        >>> cumulative_costs([10, 20, 30], [1, 2], [True, True]).tolist()
        [11, 23, 33]
        >>> cumulative_costs([10, 20, 30], [1, 2], [False, True]).tolist()
        [10, 22, 32]
    """
    heads = np.cumsum(np.where(enabled, exit_macs, 0))
    return np.asarray(trunk_macs) + np.append(heads, heads[-1])


def taken_exits(confidence: np.ndarray, thresholds: Sequence[float | None]) -> np.ndarray:
    """Return the exit that each image takes, counted from 0.

    Args:
        confidence: ``(N, T - 1)``.
        thresholds: T - 1 values; None for a disabled exit.

    Example:
        >>> taken_exits(np.array([[0.9, 0.5], [0.2, 0.8], [0.1, 0.1]]), [0.7, 0.6]).tolist()
        [0, 1, 2]
    """
    limits = np.array([np.inf if threshold is None else threshold for threshold in thresholds])
    confident = np.column_stack([confidence >= limits, np.ones(len(confidence), dtype=bool)])
    return confident.argmax(1)


def thresholds_for_cost(
    confidence: np.ndarray, costs: np.ndarray, enabled: Sequence[bool], wanted: float
) -> list[float | None]:
    r"""Choose thresholds for which the average cost of a set of images is a given one.

    About the same share of the images that reach an exit takes it, at every exit: those of
    highest confidence.

    .. math::
        p_i \propto q^{i}, \qquad \sum_i p_i c_i = c

    where :math:`p_i` is the share of all images that takes exit i, :math:`c_i` the cost of each,
    and q is found by bisection.

    Args:
        confidence: On a validation set, ``(N, T - 1)``.
        costs: :math:`c_i` in any unit, ``(T, )``; see :func:`cumulative_costs`.
        enabled: Which of the T - 1 exits are computed.
        wanted: :math:`c`, in the same unit.

    Returns:
        T - 1 thresholds; None for an exit that is disabled or that no image takes. Images of the
        same confidence take the same exit, so with many ties the average cost may differ.

    Raises:
        InputError: If no thresholds have that average cost.

    Source: MSDNet (Huang et al., ICLR 2018), section 5, budgeted batch classification.
    """
    places = [i for i, used in enumerate([*enabled, True]) if used]
    usable = costs[places]
    if not usable.min() <= wanted <= usable.max():
        raise InputError(
            f'an average cost of {wanted:.3g} is not possible: the first exit costs '
            f'{usable.min():.3g}, the last {usable.max():.3g}'
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
    remaining = np.arange(len(confidence))
    for place, share in zip(places[:-1], shares(low)[:-1], strict=True):
        count = min(round(share * len(confidence)), len(remaining))
        ordered = remaining[np.argsort(-confidence[remaining, place], kind='stable')]
        if count == 0:
            continue
        thresholds[place] = float(confidence[ordered[count - 1], place])
        remaining = remaining[confidence[remaining, place] < thresholds[place]]
    return thresholds


class EarlyExitPoint(NamedTuple):
    """Accuracy and cost of one choice of thresholds on a set of images.

    Attributes:
        thresholds: Of the T - 1 exits.
        accuracy: Top-1, in percent.
        cost: Average, in the unit of the costs.
        shares: Share of the images that take each of the T exits.
    """

    thresholds: list[float | None]
    accuracy: float
    cost: float
    shares: list[float]


def evaluate_thresholds(
    record: ExitRecord, costs: np.ndarray, thresholds: list[float | None]
) -> EarlyExitPoint:
    """Return accuracy and cost of thresholds, which should be chosen on another set of images.

    Args:
        record: Of the images.
        costs: Of each exit, ``(T, )``; see :func:`cumulative_costs`.
        thresholds: T - 1 values.
    """
    exits = taken_exits(record.confidence, thresholds)
    return EarlyExitPoint(
        thresholds,
        float(100 * record.correct[np.arange(len(exits)), exits].mean()),
        float(costs[exits].mean()),
        [float((exits == i).mean()) for i in range(len(costs))],
    )


def gain_over_fixed_exits(
    cost: float, accuracy: float, fixed_costs: Sequence[float], fixed_accuracies: Sequence[float]
) -> float | None:
    """Return the accuracy of a point above linear interpolation between the fixed exits.

    Args:
        cost: Average cost of the point.
        accuracy: Its accuracy, in percent.
        fixed_costs: Costs of the exits as separate networks, in any order.
        fixed_accuracies: Their accuracies.

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
