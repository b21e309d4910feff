"""The accuracy of a run by network and exit, and the exit that is chosen by it."""

from collections.abc import Mapping
from typing import NamedTuple

from mmmuse.errors import InputError

from .evaluations import Evaluations, Points
from .exit_choice import ExitChoice, choose_exit
from .exit_figure import Line
from .run_record import RunRecord

MAX_LOSS = 1.0  # Percentage points that an exit may lose against the full network.


class Column(NamedTuple):
    """The evaluations of one exit or network.

    Attributes:
        title: ``'exit 1'``, ``'full network (exit 4)'``, ``'a: full network'``.
        points: By epoch or step.
        exit: Number of the exit; None in a run without exits, and for peers.
    """

    title: str
    points: Points
    exit: int | None


class Chosen(NamedTuple):
    """The exit that is chosen, and by what rule.

    Attributes:
        choice: See :func:`mmmuse.analysis.exit_choice.choose_exit`.
        rule: In words.
    """

    choice: ExitChoice
    rule: str


def columns_of(record: RunRecord, full: int | None = None) -> list[Column]:
    """Return the evaluations of every exit and of the full network, of each peer in turn.

    Args:
        record: Of the run.
        full: Number of the full network as the last exit, if it is known otherwise.
    """
    columns = []
    for peer, network in record.evaluations.networks.items():
        prefix = '' if peer is None else f'{peer}: '
        last = network.full_number
        number = last or (full or _number_of_full(record) if network.exits else None)
        columns += [
            Column(f'{prefix}exit {n}', points, n if peer is None else None)
            for n, points in network.shallow_exits.items()
        ]
        suffix = f' (exit {number})' if number else ''
        columns += [
            Column(f'{prefix}full network{suffix}', network.full, number if peer is None else None)
        ]
    return columns


def _number_of_full(record: RunRecord) -> int | None:
    """Return the number of a detector's full network, which is not logged as an exit."""
    model = record.config.get('model')
    taps = model.get('taps') if isinstance(model, dict) else None
    modules = taps.get('modules') if isinstance(taps, dict) else None
    return len(modules) + 1 if isinstance(modules, (list, tuple)) else None


def last_accuracy(columns: list[Column], evaluations: Evaluations) -> dict[int, float]:
    """Return the accuracy of every exit in the last evaluation, the full network included."""
    return {
        column.exit: column.points[evaluations.last]
        for column in columns
        if column.exit is not None and evaluations.last in column.points
    }


def baseline_of(record: RunRecord, evaluations: Evaluations) -> Line:
    """Return the accuracy of a baseline's run in its last evaluation.

    Args:
        record: Of the baseline.
        evaluations: Of the run that is compared with it.

    Raises:
        InputError: If it was not evaluated in the same metric.
    """
    of_baseline = record.evaluations
    if evaluations.metric is None:
        raise InputError('the run was not evaluated, so it cannot be compared with a baseline')
    network = of_baseline.networks.get(None)
    points = network.full if network and of_baseline.metric == evaluations.metric else {}
    if not points:
        raise InputError(
            f'the baseline in {record.work_dir} was not evaluated by {evaluations.metric}'
            + (f', but by {of_baseline.metric}' if of_baseline.metric else '')
        )
    return Line('baseline', points[max(points)])


def chosen_exit(
    accuracy: Mapping[int, float],
    evaluations: Evaluations,
    macs: Mapping[int, float],
    baseline: Line | None = None,
    max_loss: float | None = None,
) -> Chosen | None:
    """Choose the smallest exit that reaches a baseline, or is almost as good as the full network.

    None is chosen if lower is better, or if the rule is in points and the unit of the metric is not known.

    Args:
        accuracy: Of each exit, see :func:`last_accuracy`.
        evaluations: With the metric's name and unit.
        macs: Multiply-adds of each exit; may be empty.
        baseline: Its accuracy is needed, unless ``max_loss`` is given.
        max_loss: Percentage points that an exit may lose against the full network.
    """
    by_points = baseline is None or max_loss is not None
    if evaluations.lower_is_better or (by_points and not evaluations.unit):
        return None
    scale, unit = (1, ' %') if evaluations.unit == '%' else (100, '')
    if not by_points:
        needed, reason = baseline.accuracy, 'the accuracy of the baseline'
    else:
        loss = MAX_LOSS if max_loss is None else max_loss
        needed = accuracy[max(accuracy)] - loss / scale
        reason = f'{loss:g} point{"" if loss == 1 else "s"} below the full network'
    choice = choose_exit(accuracy, needed, macs or None)
    order = 'fewest multiply-adds' if choice.by_cost else 'lowest number'
    digits = 2 if scale == 1 else 3
    rule = (
        f'The exit of {order} whose {evaluations.title} in the last evaluation is at least '
        f'{needed:.{digits}f}{unit}: {reason}.'
    )
    return Chosen(choice, rule)
