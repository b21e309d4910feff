"""What runs had learnt at one step, as a table."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from mmmuse.checkpoints.synced_write import write_synced
from mmmuse.errors import InputError

from .information import Curves, curves_of, module_order, peers_of

TableRow = dict[str, str | float | None]
_KINDS = {'mi': 'MI loss', 'si': 'SI loss', 'ratio': 'gradient ratio', 'loss': 'own loss'}


def information_table(runs: dict[str, Curves], step: int | None = None) -> list[TableRow]:
    """Return MI and SI losses, gradients' ratio and own loss of each network at one step.

    Args:
        runs: Curves by the title of the run; see :func:`mmmuse.analysis.information.
            read_training`.
        step: Each figure is of the last step up to this one at which it was logged; None for
            the last step of all.

    Returns:
        A row for each run, for each peer of an online one, with the same columns: ``run``,
        ``step`` (the one or several that the figures are of), ``MI loss 1``, ...,
        ``SI loss 1``, ..., ``gradient ratio``, ``own loss``. None is what a run did not log.

    Raises:
        InputError: If a run logged nothing up to ``step``.
    """
    networks = [
        (title if peer is None else f'{title}: {peer}', _latest(curves, peer, step))
        for title, curves in runs.items()
        for peer in peers_of(curves)
    ]
    for name, latest in networks:
        if not latest:
            raise InputError(f'{name} logged nothing up to step {step}: take a later --step')
    found = {key for _, latest in networks for key in latest}
    columns = {('ratio', ''), ('loss', '')} | found
    order = list(_KINDS)
    columns = sorted(
        columns, key=lambda key: (order.index(key[0]), key[1] and module_order(key[1]))
    )
    return [_row(name, latest, columns) for name, latest in networks]


def markdown_table(rows: Sequence[TableRow]) -> str:
    """Return rows as a Markdown table; ``-`` stands for what was not logged."""
    lines = [list(rows[0]), ['---'] * len(rows[0])]
    lines += [[_cell(column, value) for column, value in row.items()] for row in rows]
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in lines)


def write_csv(rows: Sequence[TableRow], out: Path) -> None:
    """Write rows as CSV; what was not logged is empty."""
    with io.StringIO() as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator='\n')
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f'{v:.6g}' if isinstance(v, float) else v for k, v in row.items()})
        write_synced(out, file.getvalue().encode())


def _latest(
    curves: Curves, peer: str | None, step: int | None
) -> dict[tuple[str, str], tuple[int, float]]:
    """Return step and value of each curve of a network, by kind and module ('' for none)."""
    latest = {}
    for kind in _KINDS:
        for name, points in curves_of(curves, peer, kind).items():
            logged = [at for at in points if step is None or at <= step]
            if logged:
                key = (kind, '' if name == kind else name)
                latest[key] = (max(logged), points[max(logged)])
    return latest


def _row(
    name: str,
    latest: dict[tuple[str, str], tuple[int, float]],
    columns: Sequence[tuple[str, str]],
) -> TableRow:
    steps = sorted({step for step, _ in latest.values()})
    row: TableRow = {'run': name, 'step': ', '.join(map(str, steps))}
    for kind, module in columns:
        _, value = latest.get((kind, module), (None, None))
        row[f'{_KINDS[kind]} {module}'.strip()] = value
    return row


def _cell(column: str, value: str | float | None) -> str:
    if value is None:
        return '-'
    if isinstance(value, str):
        return value.replace('|', '\\|')
    return f'{value:.3g}' if column == _KINDS['ratio'] else f'{value:.3f}'
