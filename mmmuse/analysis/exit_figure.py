"""Figures of accuracy against cost, for exits as separate networks and for early exit."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use('Agg')
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

TOP1 = 'top-1 accuracy (%)'


class Point(NamedTuple):
    """One network, or one choice of thresholds.

    Attributes:
        cost: In the unit of the axis.
        accuracy: In the unit of the axis.
        exit: Number of the exit, which is written beside the point; None for no number.
    """

    cost: float
    accuracy: float
    exit: int | None = None


class Line(NamedTuple):
    """A dashed line of an accuracy, with its name in the legend."""

    name: str
    accuracy: float


Panels = Mapping[str, Mapping[str, Iterable[Point]]]


def exit_figure(
    panels: Panels,
    title: str,
    line: Line | None = None,
    chosen: int | None = None,
    metric: str = TOP1,
) -> Figure:
    """Return a figure of accuracy against cost, a panel for each kind of cost.

    Args:
        panels: For each label of a cost axis, the points by name.
        title: Of the figure.
        line: An accuracy to compare with.
        chosen: Number of the exit that is marked.
        metric: Label of the axis of accuracy.
    """
    figure, axes = plt.subplots(
        1, len(panels), figsize=(1 + 5 * len(panels), 4), squeeze=False, layout='constrained'
    )
    for axis, (label, curves) in zip(axes[0], panels.items(), strict=True):
        for name, points in curves.items():
            points = sorted(points, key=lambda point: point[:2])
            costs, accuracies = zip(*((p.cost, p.accuracy) for p in points), strict=True)
            axis.plot(costs, accuracies, marker='o', markersize=4, label=name)
            _number(axis, points)
            _mark(axis, points, chosen)
        if line is not None:
            axis.axhline(line.accuracy, color='grey', linestyle='--', label=line.name)
        axis.margins(0.08, 0.15)
        axis.set_xlabel(label)
        axis.set_ylabel(metric, parse_math=False)
        axis.grid(alpha=0.3)
        axis.legend(fontsize='small')
    figure.suptitle(title)
    return figure


def draw_accuracy(
    panels: Panels,
    path: Path,
    title: str,
    line: Line | None = None,
    chosen: int | None = None,
    metric: str = TOP1,
) -> None:
    """Write the PNG of :func:`exit_figure`."""
    figure = exit_figure(panels, title, line, chosen, metric)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _number(axis: Axes, points: Sequence[Point]) -> None:
    for point in points:
        if point.exit is not None:
            axis.annotate(
                str(point.exit),
                (point.cost, point.accuracy),
                (0, 6),
                textcoords='offset points',
                horizontalalignment='center',
            )


def _mark(axis: Axes, points: Sequence[Point], chosen: int | None) -> None:
    """Draw a ring around the chosen exit."""
    for point in points:
        if chosen is not None and point.exit == chosen:
            axis.plot(
                point.cost,
                point.accuracy,
                marker='o',
                markersize=12,
                fillstyle='none',
                linestyle='none',
                color='tab:red',
                label=f'chosen: exit {chosen}',
            )


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows, which have the same keys, as CSV."""
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
