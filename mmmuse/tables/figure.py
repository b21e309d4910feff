"""The figure of a table: the accuracy of every exit, rows side by side, with confidence intervals."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

from matplotlib.figure import Figure

from mmmuse.analysis.difference import half_width

_WIDTH = 0.7  # Of a column of the figure that its rows share.
_MARKERS = 'os^Dv'  # For each ten rows, which have ten colours.


def write_figure(
    path: Path, values: Mapping[str, Mapping[str, Sequence[float]]], title: str, metric: str
) -> None:
    """Write a PNG with a column for each exit and one for the full network.

    Args:
        path: Of the PNG.
        values: For each row, those of its seeds by the title of the column. A row without values is
            left out.
        title: Of the figure.
        metric: Label of the vertical axis.
    """
    rows = {name: columns for name, columns in values.items() if any(columns.values())}
    columns = list(dict.fromkeys(name for of_row in rows.values() for name in of_row))
    figure = Figure((3 + 1.5 * len(columns), 4.5), layout='constrained')
    axis = figure.subplots()
    for number, (name, of_row) in enumerate(rows.items()):
        shift = _WIDTH * ((number + 0.5) / len(rows) - 0.5)
        places, means, halves = [], [], []
        for place, column in enumerate(columns):
            if found := of_row.get(column):
                places.append(place + shift)
                means.append(mean(found))
                halves.append(half_width(found) or 0.0)
        marker = _MARKERS[number // 10 % len(_MARKERS)]
        style = dict(fmt=marker, markersize=4, capsize=3, color=f'C{number % 10}')
        axis.errorbar(places, means, halves, label=_text(name), **style)
    axis.set_xticks(range(len(columns)), columns)
    axis.set_xlim(-0.5, len(columns) - 0.5)
    for place in range(1, len(columns)):
        axis.axvline(place - 0.5, color='grey', linewidth=0.5)
    axis.set_ylabel(metric, parse_math=False)
    axis.grid(axis='y', alpha=0.3)
    axis.set_title(title, parse_math=False)
    figure.legend(loc='outside right upper', fontsize='small')
    figure.savefig(path, dpi=120)


def _text(name: str) -> str:
    """Return a name as matplotlib prints it: neither as a formula nor hidden."""
    return name.replace('$', r'\$').removeprefix('_')
