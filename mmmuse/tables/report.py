"""Write a table as Markdown and CSV, its figure, and the records of its runs."""

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean, stdev

from mmmuse.analysis.difference import Difference, paired_difference
from mmmuse.analysis.evaluations import metric_title

from .figure import write_figure
from .plan import Row, Run, Table
from .record import Record, read_record

_EXIT = re.compile(r'exit(\d+)')
# By the row's name, then by the seed.
_Records = Mapping[str, Mapping[int, Record]]


def write_report(table: Table, runs: Sequence[Run], out: Path, command: str) -> list[Path]:
    """Write a table from the runs that are finished: Markdown, CSV, their records, and a figure.

    A cell is mean ± standard deviation (n - 1) over the seeds, in percent. "Best" is the epoch in which
    the full network was best, also for its exits. Of several networks (peers), the column of the
    full network is the average. Differences from the table's references are of the full network's last
    epoch, paired by seed, with the 95 % interval of Student's t-test.

    Args:
        table: The table.
        runs: Of every row; unfinished ones are omitted.
        out: Path of the files, without suffix, in the folder of the runs.
        command: Printed above the table.

    Returns:
        The paths: ``.md``, ``.csv``, ``.json`` (each record by its run's folder), and ``.png`` where a run
        is finished.
    """
    found = [(run, record) for run in runs if (record := read_record(run)) is not None]
    records = {
        row.name: {run.seed: record for run, record in found if run.row.name == row.name}
        for row in table.rows
    }
    columns = _columns(table, records)
    rows = [_figures(table, row, records, columns) for row in table.rows]
    markdown, table_csv, table_json, figure = (
        out.with_name(out.name + suffix) for suffix in ('.md', '.csv', '.json', '.png')
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    markdown.write_text(_markdown(table, rows, columns, command, records), encoding='utf-8')
    with table_csv.open('w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)
    by_folder = {
        run.work_dir.relative_to(out.parent).as_posix(): {
            'row': run.row.name,
            'seed': run.seed,
            **asdict(record),
        }
        for run, record in found
    }
    table_json.write_text(json.dumps(by_folder, indent=1) + '\n', encoding='utf-8')
    written = [markdown, table_csv, table_json]
    if found:
        write_figure(figure, _last_values(records, columns), table.title, f'{_metric(table)} (%)')
        written.append(figure)
    return written


def _last_values(records: _Records, columns: Sequence[str]) -> dict[str, dict[str, list[float]]]:
    """Return the last epoch's values of each row by the title of the column."""
    return {
        name: {_title(column): _values(of_row, column, Record.last) for column in columns}
        for name, of_row in records.items()
    }


def _metric(table: Table) -> str:
    """Return the name of the rows' metric, with a capital letter; of several metrics all names."""
    names = dict.fromkeys(metric_title(row.metric) for row in table.rows)
    joined = ', '.join(names)
    return joined[0].upper() + joined[1:] if joined.startswith('top-') else joined


def _columns(table: Table, records: _Records) -> list[str]:
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


def _figures(table: Table, row: Row, all_records: _Records, columns: Sequence[str]) -> dict:
    records = all_records[row.name]
    figures = {'row': row.name, 'config': row.config, 'seeds': len(records)}
    for column in columns:
        figures[f'{column}_paper'] = row.paper.get(column, '')
        for which, epoch in (('last', Record.last), ('best', Record.best)):
            values = _values(records, column, epoch)
            figures[f'{column}_{which}_mean'] = f'{mean(values):.2f}' if values else ''
            figures[f'{column}_{which}_std'] = f'{stdev(values):.2f}' if len(values) > 1 else ''
    for reference in table.references:
        difference = _difference(table, all_records, row.name, reference)
        half = None if difference is None else difference.half_width
        key = f'from {reference}'
        figures[f'{key}_mean'] = '' if difference is None else f'{difference.mean:.2f}'
        figures[f'{key}_half_width'] = '' if half is None else f'{half:.2f}'
        figures[f'{key}_seeds'] = 0 if difference is None else difference.seeds
    for name in _names_at_end(all_records):
        values = _at_end(records, name)
        figures[name] = f'{mean(values):.4g}' if values else ''
    epochs = {max(record.epochs) for record in records.values()}
    figures['epochs'] = ' '.join(map(str, sorted(epochs)))
    for key in ('commit', 'hardware'):
        figures[key] = '; '.join(sorted({getattr(record, key) for record in records.values()}))
    figures['command'] = next(iter(records.values())).command if records else ''
    return figures


def _values(
    records: Mapping[int, Record], column: str, epoch: Callable[[Record], dict[str, float]]
) -> list[float]:
    return [metrics[column] for record in records.values() if column in (metrics := epoch(record))]


def _difference(table: Table, records: _Records, name: str, reference: str) -> Difference | None:
    """Return how much better a row's full network is in the last epoch than a reference's.

    None for the reference itself, for a row with a seed of its own, and for one of another metric.
    """
    row, other = (next(row for row in table.rows if row.name == each) for each in (name, reference))
    if name == reference or row.seed is not None or row.metric != other.metric:
        return None
    values, of_reference = (
        {seed: record.last()['top1'] for seed, record in records[row].items()}
        for row in (name, reference)
    )
    return paired_difference(values, of_reference)


def _names_at_end(records: _Records) -> list[str]:
    """Return the names of what training had last logged: accuracy, MI and SI losses, gradient ratio."""
    found = [record for of_row in records.values() for record in of_row.values()]
    order = ('training', 'MI', 'SI', 'gradient')
    names = dict.fromkeys(name for record in found for name in record.at_end)
    return sorted(names, key=lambda name: order.index(name.split()[0]))


def _at_end(records: Mapping[int, Record], name: str) -> list[float]:
    return [record.at_end[name] for record in records.values() if name in record.at_end]


def _markdown(
    table: Table,
    rows: Sequence[dict],
    columns: Sequence[str],
    command: str,
    records: _Records,
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
    lines += [f'`{command}`', '', *_circumstances(table, records, columns), '']
    lines += [_line(headers), _line(['---'] * len(headers))]
    for row in rows:
        cells = [_escaped(row['row']), f'`{row["config"]}`', str(row['seeds'])]
        for group in keys:
            figure = ' ± '.join(filter(None, (row[key] for key in group)))
            missing = 'not run' if not row['seeds'] and 'paper' not in group[0] else '-'
            cells.append(figure or missing)
        lines.append(_line(cells))
    lines += _differences(table, records)
    lines += _ends(records)
    return '\n'.join(lines) + '\n'


def _differences(table: Table, records: _Records) -> list[str]:
    """Return the table of differences from the references; nothing if there is no pair of runs."""
    rows = []
    for row in table.rows:
        found = [_difference(table, records, row.name, name) for name in table.references]
        if any(found):
            cells = [cell for each in found for cell in _of_difference(each)]
            rows.append(_line([_escaped(row.name), *cells]))
    if not rows:
        return []
    headers = ['row']
    for name in table.references:
        headers += [f'from {_escaped(name)}', 'seeds', 'verdict']
    return [
        '',
        'Difference of the full network in the last epoch, in points: the mean over the seeds that both rows '
        'have, and its 95 % interval (paired t-test).',
        '',
        _line(headers),
        _line(['---'] * len(headers)),
        *rows,
    ]


def _of_difference(difference: Difference | None) -> list[str]:
    if difference is None:
        return ['-', '-', '-']
    return [str(difference), str(difference.seeds), difference.verdict]


def _ends(records: _Records) -> list[str]:
    """Return the table of what training had last logged; nothing if it was nothing."""
    names = _names_at_end(records)
    if not names:
        return []
    rows = []
    for row, of_row in records.items():
        values = [_at_end(of_row, name) for name in names]
        if any(values):
            cells = [f'{mean(found):.3g}' if found else '-' for found in values]
            rows.append(_line([_escaped(row), *cells]))
    return [
        '',
        'At the end of training, means over the seeds: accuracy on training images in percent, losses in nats.',
        '',
        _line(['row', *names]),
        _line(['---'] * (1 + len(names))),
        *rows,
    ]


def _circumstances(table: Table, records: _Records, columns: Sequence[str]) -> list[str]:
    found = [record for of_row in records.values() for record in of_row.values()]
    epochs = sorted({max(record.epochs) for record in found})
    lines = [
        f'{_metric(table)} (%), mean ± standard deviation over the seeds; "best" is the epoch in which the '
        'full network was best.'
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


def _escaped(name: str) -> str:
    """Return a name as a cell of Markdown has it."""
    return name.replace('|', '\\|')
