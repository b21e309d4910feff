"""Figures of accuracy against cost, for exits as separate networks and for early exit."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
from matplotlib import pyplot as plt

Curve = Sequence[tuple[float, float]]


def draw_accuracy(
    panels: Mapping[str, Mapping[str, Curve]], path: Path, baseline: float | None = None
) -> None:
    """Draw curves of accuracy, a panel for each kind of cost.

    Args:
        panels: For each label of a cost axis, the points (cost, accuracy in percent) by name.
        path: PNG to write.
        baseline: Accuracy of a dashed line, in percent.
    """
    figure, axes = plt.subplots(
        1, len(panels), figsize=(5 * len(panels), 4), squeeze=False, layout='constrained'
    )
    for axis, (label, curves) in zip(axes[0], panels.items(), strict=True):
        for name, points in curves.items():
            axis.plot(*zip(*sorted(points), strict=True), marker='o', markersize=4, label=name)
        if baseline is not None:
            axis.axhline(baseline, color='grey', linestyle='--', label='baseline')
        axis.set_xlabel(label)
        axis.set_ylabel('top-1 accuracy (%)')
        axis.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows, which have the same keys, as CSV."""
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
