"""The figure of a table: the accuracy of every exit, rows side by side, with confidence intervals."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from mmmuse.analysis.difference import half_width

_WIDTH = 0.7  # Of a column of the figure that its rows share.
_MARKERS = 'os^Dv'  # For each ten rows, which have ten colours.
# Inches of the legend: height of a line, width of a letter, and width of a marker with its space.
_LINE, _LETTER, _MARKER = 0.22, 0.07, 0.6


def table_figure(
    values: Mapping[str, Mapping[str, Sequence[float]]], title: str, metric: str
) -> Figure:
    """Return a figure with a column for each exit and one for the full network.

    A point is a mean over the seeds; its bar is the 95 % interval of that mean, which one seed has not.

    Args:
        values: For each row, those of its seeds by the title of the column. A row without values is
            left out.
        title: Of the figure.
        metric: Label of the vertical axis.
    """
    rows = {name: columns for name, columns in values.items() if any(columns.values())}
    columns = list(dict.fromkeys(name for of_row in rows.values() for name in of_row))
    width = max(6, 1.5 + 1.5 * len(columns))
    beside = max(1, int(width / (_MARKER + _LETTER * max(map(len, rows), default=0))))
    lines = math.ceil(len(rows) / beside)
    figure = Figure((width, 4.2 + _LINE * lines), layout='constrained')
    axis = figure.subplots()
    drawn = []
    for number, of_row in enumerate(rows.values()):
        shift = _WIDTH * ((number + 0.5) / len(rows) - 0.5)
        found = [
            (place + shift, of_row[name]) for place, name in enumerate(columns) if of_row.get(name)
        ]
        halves = [half_width(seeds) for _, seeds in found]
        drawn.append(
            axis.errorbar(
                [place for place, _ in found],
                [float(np.mean(seeds)) for _, seeds in found],
                [math.nan if half is None else half for half in halves],
                fmt=_MARKERS[number // 10 % len(_MARKERS)],
                markersize=4,
                capsize=3,
                color=f'C{number % 10}',
            )
        )
    axis.set_xticks(range(len(columns)), columns)
    axis.set_xlim(-0.5, len(columns) - 0.5)
    for place in range(1, len(columns)):
        axis.axvline(place - 0.5, color='grey', linewidth=0.5)
    axis.set_ylabel(metric, parse_math=False)
    axis.grid(axis='y', alpha=0.3)
    axis.set_title(title, parse_math=False)
    names = [name.replace('$', r'\$') for name in rows]
    figure.legend(drawn, names, loc='outside lower left', fontsize='small', ncols=beside)
    return figure
