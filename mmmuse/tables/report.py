"""Write a table as Markdown and CSV."""

import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev

from .plan import Run, Table
from .record import Record, read_record

_EXIT = re.compile(r'exit(\d+)')


def write_report(table: Table, runs: Sequence[Run], out: Path, command: str) -> list[Path]:
    """Write a table as Markdown and as CSV from the runs that are finished.

    A cell is mean ± standard deviation (n - 1) over the seeds, in percent. "Best" is the epoch in which
    the full network was best, also for its exits. Of several networks (peers), the column of the
    full network is the average.

    Args:
        table: The table.
        runs: Of every row; unfinished ones are omitted.
        out: Path of the two files, without suffix.
        command: Printed above the table.

    Returns:
        The two paths.
    """
    records = {
        row.name: [
            record
            for run in runs
            if run.row.name == row.name and (record := read_record(run)) is not None
        ]
        for row in table.rows
    }
    columns = _columns(table, records)
    rows = [_figures(table, name, of_row, columns) for name, of_row in records.items()]
    paths = [out.with_name(out.name + suffix) for suffix in ('.md', '.csv')]
    out.parent.mkdir(parents=True, exist_ok=True)
    paths[0].write_text(_markdown(table, rows, columns, command, records), encoding='utf-8')
    with paths[1].open('w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)
    return paths


def _columns(table: Table, records: dict[str, list[Record]]) -> list[str]:
    """Return the columns of figures: exits from shallow to deep, peers, the full network."""
    names = [name for row in table.rows for name in row.paper]
    names += [name for of_row in records.values() for record in of_row for name in record.last()]
    exits = {name: int(match[1]) for name in names if (match := _EXIT.fullmatch(name))}
    peers = [name for name in dict.fromkeys(names) if name not in exits and name != 'top1']
    return [*sorted(exits, key=exits.get), *peers, 'top1']


def _title(column: str) -> str:
    if column == 'top1':
        return 'full network'
    return f'exit {match[1]}' if (match := _EXIT.fullmatch(column)) else f'peer {column}'


def _figures(table: Table, name: str, records: Sequence[Record], columns: Sequence[str]) -> dict:
    row = next(row for row in table.rows if row.name == name)
    figures = {'row': name, 'config': row.config, 'seeds': len(records)}
    for column in columns:
        figures[f'{column}_paper'] = row.paper.get(column, '')
        for which, epoch in (('last', Record.last), ('best', Record.best)):
            values = _values(records, column, epoch)
            figures[f'{column}_{which}_mean'] = f'{mean(values):.2f}' if values else ''
            figures[f'{column}_{which}_std'] = f'{stdev(values):.2f}' if len(values) > 1 else ''
    epochs = {max(record.epochs) for record in records}
    figures['epochs'] = ' '.join(map(str, sorted(epochs)))
    for key in ('commit', 'hardware'):
        figures[key] = '; '.join(sorted({getattr(record, key) for record in records}))
    figures['command'] = records[0].command if records else ''
    return figures


def _values(
    records: Sequence[Record], column: str, epoch: Callable[[Record], dict[str, float]]
) -> list[float]:
    return [metrics[column] for record in records if column in (metrics := epoch(record))]


def _markdown(
    table: Table,
    rows: Sequence[dict],
    columns: Sequence[str],
    command: str,
    records: dict[str, list[Record]],
) -> str:
    headers = ['row', 'config', 'seeds']
    keys: list[tuple[str, ...]] = []
    for column in columns:
        title = _title(column)
        if any(row[f'{column}_paper'] for row in rows):
            headers.append(f'{title}, paper')
            keys.append((f'{column}_paper',))
        for which in ('last', 'best'):
            headers.append(f'{title}, {which}')
            keys.append((f'{column}_{which}_mean', f'{column}_{which}_std'))
    lines = [f'# {table.title}', '']
    if table.caption:
        lines += [table.caption, '']
    lines += [f'`{command}`', '', *_circumstances(records, columns), '']
    lines += [_line(headers), _line(['---'] * len(headers))]
    for row in rows:
        cells = [row['row'].replace('|', '\\|'), f'`{row["config"]}`', str(row['seeds'])]
        for group in keys:
            figure = ' ± '.join(filter(None, (row[key] for key in group)))
            missing = 'not run' if not row['seeds'] and 'paper' not in group[0] else '-'
            cells.append(figure or missing)
        lines.append(_line(cells))
    return '\n'.join(lines) + '\n'


def _circumstances(records: dict[str, list[Record]], columns: Sequence[str]) -> list[str]:
    found = [record for of_row in records.values() for record in of_row]
    epochs = sorted({max(record.epochs) for record in found})
    lines = [
        'Top-1 (%), mean ± standard deviation over the seeds; "best" is the epoch in which the full '
        'network was best.'
    ]
    if any(_title(column).startswith('peer') for column in columns):
        lines.append('Of several networks trained together (peers), "full network" is the average.')
    for name, values in (
        ('Epochs', epochs),
        ('Commit', sorted({record.commit for record in found})),
        ('Hardware', sorted({record.hardware for record in found})),
    ):
        if values:
            lines.append(f'{name}: {", ".join(map(str, values))}.')
    return lines


def _line(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cells)} |'
