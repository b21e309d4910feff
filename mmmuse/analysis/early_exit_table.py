"""Read the table that ``mmmuse early-exit`` has written, and draw it."""

import csv
from collections.abc import Sequence
from pathlib import Path

from mmmuse.checkpoints.regular_file import check_regular_file
from mmmuse.errors import InputError

from .exit_figure import TOP1, Point

EARLY_EXIT_FILE = 'early_exit.csv'
_EARLY = 'early exit'
_FIGURES = ('macs', 'milliseconds')
_ACCURACIES = {'top1': TOP1, 'mIoU': 'mIoU (%)'}  # Of classifiers, of segmenters.
_LARGEST = 2**20  # Bytes.


def read_early_exit(path: Path) -> list[dict]:
    """Read the rows of a table: each exit as a network of its own, then choices of thresholds.

    Args:
        path: Of ``early_exit.csv``.

    Returns:
        The rows, with ``top1`` or ``mIoU`` in percent, ``macs`` and ``milliseconds`` as numbers.

    Raises:
        InputError: If it is missing, or is not such a table.
    """
    check_regular_file(path, 'table of early exit')
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f'larger than {_LARGEST} bytes')
        with path.open(newline='', encoding='utf-8') as file:
            rows = list(csv.DictReader(file, strict=True))
            figures = (*_FIGURES, accuracy_key(rows)) if rows else ()
            rows = [{**row, **{name: float(row[name]) for name in figures}} for row in rows]
        if not rows or not all(isinstance(row.get('network'), str) for row in rows):
            raise ValueError('no rows')
    except (ValueError, LookupError, TypeError, csv.Error) as error:
        raise InputError(f'{path} is not a table of mmmuse early-exit: {error}') from error
    return rows


def accuracy_key(rows: Sequence[dict]) -> str:
    """Return the column of the accuracy: ``top1`` of a classifier, ``mIoU`` of a segmenter."""
    return 'mIoU' if 'mIoU' in rows[0] else 'top1'


def accuracy_label(rows: Sequence[dict]) -> str:
    """Return the name of the accuracy, with its unit."""
    return _ACCURACIES[accuracy_key(rows)]


def early_exit_panels(rows: Sequence[dict]) -> dict[str, dict[str, list[Point]]]:
    """Return what :func:`mmmuse.analysis.exit_figure.exit_figure` draws of the table's rows."""
    return {
        'average multiply-adds (M)': _curves(rows, 'macs', 1e6),
        'latency (ms per image)': _curves(rows, 'milliseconds', 1),
    }


def _curves(rows: Sequence[dict], key: str, scale: float) -> dict[str, list[Point]]:
    curves: dict[str, list[Point]] = {'fixed exits': [], _EARLY: []}
    for row in rows:
        name = row['network']
        number = name.removeprefix('exit ')
        exit = int(number) if number.isdecimal() and len(number) < 5 else None
        curve = curves[_EARLY if name == _EARLY else 'fixed exits']
        curve.append(Point(row[key] / scale, row[accuracy_key(rows)], exit))
    return {name: points for name, points in curves.items() if points}
