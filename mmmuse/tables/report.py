"""Write a table as Markdown and CSV, its figure, and the records of its runs."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mmmuse.analysis.difference import Difference
from mmmuse.analysis.evaluations import metric_title, percent_factor
from mmmuse.checkpoints.synced_write import write_synced

from .comparison import Comparison, Records, compared
from .figure import table_figure
from .plan import Row, Run, Table
from .record import Record, read_record

_EXIT = re.compile(r'exit(\d+)')
# What training logs, in the order of the table.
_TRAINING_VALUES = ('training accuracy', 'MI loss', 'SI loss', 'gradient ratio')


def write_report(table: Table, runs: Sequence[Run], out: Path, command: str) -> list[Path]:
    """Write a table from the runs that are finished: Markdown, CSV, their records, and a figure.

    A cell is mean ± standard deviation (n - 1) over the seeds, in percent. "Best" is the epoch in which
    the full network was best, also for its exits; Markdown omits it where it is the last of every run.
    Of several networks (peers), the column of the full network is the average. Differences to the
    table's references are of the last epoch, paired by seed, with the 95 % interval of Student's t-test.

    Args:
        table: The table.
        runs: Of every row; unfinished ones are omitted.
        out: Path of the files, without suffix, in the folder of the runs.
        command: Printed above the table.

    Returns:
        The paths: ``.md``, ``.csv``, ``.json`` (the records), and ``.png`` where a run is finished.
    """
    found = [(run, record) for run in runs if (record := read_record(run)) is not None]
    records = {
        row.name: {run.seed: record for run, record in found if run.row.name == row.name}
        for row in table.rows
    }
    columns = _columns(table, records)
    comparisons = compared(table, records, columns)
    rows = [_figures(table, row, records, columns, comparisons) for row in table.rows]
    markdown, table_csv, table_json, figure = (
        out.with_name(out.name + suffix) for suffix in ('.md', '.csv', '.json', '.png')
    )
    text = _markdown(table, rows, columns, command, records, comparisons)
    write_synced(markdown, text.encode())
    with io.StringIO(newline='') as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)
        write_synced(table_csv, file.getvalue().encode())
    listed = [
        {
            'folder': run.work_dir.relative_to(out.parent).as_posix(),
            'row': run.row.name,
            'seed': run.seed,
            **asdict(record),
        }
        for run, record in found
    ]
    write_synced(table_json, (json.dumps(listed, indent=1) + '\n').encode())
    written = [markdown, table_csv, table_json]
    if found:
        values = _last_values(records, columns)
        with io.BytesIO() as file:
            table_figure(values, table.title, _metric(table)).savefig(file, dpi=120, format='png')
            write_synced(figure, file.getvalue())
        written.append(figure)
    return written


def _last_values(records: Records, columns: Sequence[str]) -> dict[str, dict[str, list[float]]]:
    """Return the last epoch's values of each row by the title of the column."""
    return {
        name: {_title(column): _values(of_row, column, Record.last) for column in columns}
        for name, of_row in records.items()
    }


def _metric(table: Table) -> str:
    """Return the name of the rows' metric, with "(%)" if it is in percent; of several metrics all names."""
    units = {row.metric: '' if percent_factor(row.metric) is None else ' (%)' for row in table.rows}
    names = dict.fromkeys(metric_title(metric) + unit for metric, unit in units.items())
    joined = ', '.join(names)
    return joined[0].upper() + joined[1:] if joined.startswith('top-') else joined


def _columns(table: Table, records: Records) -> list[str]:
    """Return the columns of figures: exits from shallow to deep, peers, the full network."""
    names = [name for row in table.rows for name in row.paper]
    found = [record for of_row in records.values() for record in of_row.values()]
    names += [name for record in found for name in record.last()]
    exits = {name: int(match[1]) for name in names if (match := _EXIT.fullmatch(name))}
    peers = [name for name in dict.fromkeys(names) if name not in exits and name != 'top1']
    return [*sorted(exits, key=exits.get), *peers, 'top1']


def _title(column: str) -> str:
    if column == 'top1':
        return 'full network'
    return f'exit {match[1]}' if (match := _EXIT.fullmatch(column)) else f'peer {column}'


def _figures(
    table: Table,
    row: Row,
    all_records: Records,
    columns: Sequence[str],
    comparisons: Sequence[Comparison],
) -> dict:
    records = all_records[row.name]
    figures = {'row': row.name, 'config': row.config, 'seeds': len(records)}
    for column in columns:
        figures[f'{column}_paper'] = row.paper.get(column, '')
        for which, epoch in (('last', Record.last), ('best', Record.best)):
            values = _values(records, column, epoch)
            figures[f'{column}_{which}_mean'] = f'{np.mean(values):.2f}' if values else ''
            figures[f'{column}_{which}_std'] = (
                f'{np.std(values, ddof=1):.2f}' if len(values) > 1 else ''
            )
    differences = {each.reference: each.differences for each in comparisons if each.row == row.name}
    for reference in table.references:
        found = differences.get(reference, {})
        for column in columns:
            figures |= _difference_figures(f'{column} minus {reference}', found.get(column))
    for name in _logged_values(all_records):
        values = _training_values(records, name)
        figures[name] = f'{np.mean(values):.4g}' if values else ''
    epochs = {max(record.epochs) for record in records.values()}
    figures['epochs'] = ' '.join(map(str, sorted(epochs)))
    for name, found in _origins(records.values()).items():
        figures[name] = '; '.join(found)
    figures['command'] = next(iter(records.values())).command if records else ''
    return figures


def _has_best(records: Records) -> bool:
    """Whether the best epoch of a run is another one than its last."""
    return any(
        record.best() != record.last() for of_row in records.values() for record in of_row.values()
    )


def _values(
    records: Mapping[int, Record], column: str, epoch: Callable[[Record], dict[str, float]]
) -> list[float]:
    return [metrics[column] for record in records.values() if column in (metrics := epoch(record))]


def _difference_figures(name: str, difference: Difference | None) -> dict:
    if difference is None:
        return {f'{name}, mean': '', f'{name}, half_width': '', f'{name}, seeds': 0}
    half_width = difference.half_width
    return {
        f'{name}, mean': f'{difference.mean:.2f}',
        f'{name}, half_width': '' if half_width is None else f'{half_width:.2f}',
        f'{name}, seeds': difference.seeds,
    }


def _logged_values(records: Records) -> list[str]:
    """Return the names of what training had last logged: accuracy, MI and SI losses, gradient ratio."""
    found = [record for of_row in records.values() for record in of_row.values()]
    names = dict.fromkeys(name for record in found for name in record.at_end)
    return [name for start in _TRAINING_VALUES for name in names if name.startswith(start)]


def _training_values(records: Mapping[int, Record], name: str) -> list[float]:
    return [record.at_end[name] for record in records.values() if name in record.at_end]


def _markdown(
    table: Table,
    rows: Sequence[dict],
    columns: Sequence[str],
    command: str,
    records: Records,
    comparisons: Sequence[Comparison],
) -> str:
    headers = ['row', 'config', 'seeds']
    epochs = ('last', 'best') if _has_best(records) else ('last',)
    keys: list[tuple[str, ...]] = []
    for column in columns:
        title = _title(column)
        if any(row[f'{column}_paper'] for row in rows):
            headers.append(f'{title}, paper')
            keys.append((f'{column}_paper',))
        for which in epochs:
            headers.append(f'{title}, {which}')
            keys.append((f'{column}_{which}_mean', f'{column}_{which}_std'))
    lines = [f'# {table.title}', '']
    if table.caption:
        lines += [table.caption, '']
    lines += [f'`{command}`', '', *_circumstances(table, records, columns), '']
    lines += [_line(headers), _line(['---'] * len(headers))]
    for row in rows:
        cells = [_escaped(row['row']), f'`{row["config"]}`', str(row['seeds'])]
        for group in keys:
            figure = ' ± '.join(filter(None, (row[key] for key in group)))
            missing = 'not run' if not row['seeds'] and 'paper' not in group[0] else '-'
            cells.append(figure or missing)
        lines.append(_line(cells))
    lines += _difference_table(comparisons, columns)
    lines += _training_table(records)
    return '\n'.join(lines) + '\n'


def _difference_table(comparisons: Sequence[Comparison], columns: Sequence[str]) -> list[str]:
    """Return the lines of the differences to the references; none if there is no pair of runs."""
    if not comparisons:
        return []
    shown = [
        column for column in columns if any(column in each.differences for each in comparisons)
    ]
    headers = ['row', 'against', *map(_title, shown), 'seeds', 'verdict on the full network']
    rows = [
        [
            _escaped(each.row),
            _escaped(each.reference),
            *(str(each.differences.get(column, '-')) for column in shown),
            str(each.full.seeds),
            each.full.verdict,
        ]
        for each in comparisons
    ]
    return [
        '',
        'Differences in the last epoch, in the unit of the table: the mean over the seeds that both rows '
        'have, and its 95 % interval (paired t-test).',
        '',
        *(_line(cells) for cells in (headers, ['---'] * len(headers), *rows)),
    ]


def _training_table(records: Records) -> list[str]:
    """Return the lines of what training had last logged; none if it was nothing."""
    names = _logged_values(records)
    if not names:
        return []
    rows = []
    for row, of_row in records.items():
        values = [_training_values(of_row, name) for name in names]
        if any(values):
            cells = [f'{np.mean(found):.3g}' if found else '-' for found in values]
            rows.append([_escaped(row), *cells])
    headers = ['row', *names]
    return [
        '',
        'At the end of training, means over the seeds: accuracy on training images in percent, losses in nats.',
        '',
        *(_line(cells) for cells in (headers, ['---'] * len(headers), *rows)),
    ]


def _circumstances(table: Table, records: Records, columns: Sequence[str]) -> list[str]:
    found = [record for of_row in records.values() for record in of_row.values()]
    epochs = sorted({max(record.epochs) for record in found})
    best = '; "best" is the epoch in which the full network was best' if _has_best(records) else ''
    lines = [f'{_metric(table)}, mean ± standard deviation over the seeds{best}.']
    if any(_title(column).startswith('peer') for column in columns):
        lines.append('Of several networks trained together (peers), "full network" is the average.')
    for name, values in {'epochs': epochs, **_origins(found)}.items():
        if values:
            lines.append(f'{name.title()}: {", ".join(map(str, values))}.')
    return lines


def _origins(records: Iterable[Record]) -> dict[str, list[str]]:
    """Return the commits and the machines of runs, each once."""
    found = list(records)
    commits = {commit for record in found for commit in record.commit.split(', ')}
    return {'commit': sorted(commits), 'hardware': sorted({record.hardware for record in found})}


def _line(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cells)} |'


def _escaped(name: str) -> str:
    """Return a name as a cell of Markdown has it."""
    return name.replace('|', '\\|')
