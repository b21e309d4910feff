"""A figure of the accuracy of every exit in each evaluation of a run."""

from collections.abc import Mapping
from typing import NamedTuple

import matplotlib

matplotlib.use('Agg')
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from .exit_figure import Line

_MARKERS = 'osD^vP*X'


class AccuracyCurve(NamedTuple):
    """The accuracy of one network or exit.

    Attributes:
        points: Accuracy by epoch or step.
        is_chosen: Whether its line is marked as that of the chosen exit.
    """

    points: Mapping[int, float]
    is_chosen: bool = False


def epochs_figure(
    curves: Mapping[str, AccuracyCurve],
    title: str,
    unit: str = 'epoch',
    metric: str = 'top-1 accuracy (%)',
    line: Line | None = None,
) -> Figure:
    """Return a figure of accuracy against epochs.

    Args:
        curves: By their names in the legend.
        title: Of the figure.
        unit: ``'epoch'`` or ``'step'``, the label of the axis.
        metric: Label of the axis of accuracy.
        line: An accuracy to compare with.
    """
    figure, axis = plt.subplots(figsize=(6, 4), layout='constrained')
    for i, (name, curve) in enumerate(curves.items()):
        steps = sorted(curve.points)
        axis.plot(
            steps,
            [curve.points[step] for step in steps],
            label=_plain(f'{name} (chosen)' if curve.is_chosen else name),
            linewidth=3 if curve.is_chosen else 1.3,
            marker=_MARKERS[i % len(_MARKERS)] if len(steps) < 40 else None,
            markersize=4,
        )
    if line is not None:
        axis.axhline(line.accuracy, color='grey', linestyle='--', label=line.name)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel(unit)
    axis.set_ylabel(metric, parse_math=False)
    axis.grid(alpha=0.3)
    axis.legend(fontsize='small')
    figure.suptitle(title, parse_math=False)
    return figure


def _plain(name: str) -> str:
    """Return a name for a legend, which reads ``$`` as mathematics and leaves out ``_name``."""
    return ' ' * name.startswith('_') + name.replace('$', r'\$')
