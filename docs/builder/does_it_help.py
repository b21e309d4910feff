"""Write the table "Does it help?" from the logs and records beside it.

``python docs/builder/does_it_help.py docs/results/does_it_help.json --into docs/results/README.md`` replaces the lines
between the two comments ``does it help`` of the page; without ``--into`` the table is printed.
"""

import argparse
import csv
import json
import re
import sys
from collections.abc import Callable, Mapping
from glob import glob
from pathlib import Path
from typing import Any

from mmmuse.analysis.difference import Difference, paired_difference

BEGIN, END = '<!-- does it help: begin -->', '<!-- does it help: end -->'
_HEADERS = ('setting', 'compared', 'metric', 'seeds', 'difference (95 % interval)', 'verdict')
_EVALUATION = re.compile(r'Epoch\(val\) +\[(\d+)\]')
_SEED = re.compile(r'(\d+)\.log$')

# Epoch and value of the last evaluation, by seed.
Values = dict[int, tuple[int, float]]


def table(file: Path) -> str:
    """Return the table of a file as Markdown.

    Args:
        file: JSON with a list ``settings``. Each has ``setting`` (a text), ``link`` (to its commands), ``row``,
            ``reference`` and ``metric`` (their names), and says in ``from`` where the values of both lie, relative to the
            file; without it the line says "not run". ``unit`` is a factor on the values.
    """
    settings = json.loads(file.read_text(encoding='utf-8'))['settings']
    lines = [_line(_HEADERS), _line(['---'] * len(_HEADERS))]
    lines += [_line(_cells(setting, file.parent)) for setting in settings]
    return '\n'.join(lines)


def _cells(setting: Mapping[str, Any], folder: Path) -> list[str]:
    compared = f'{setting["row"]} against {setting["reference"]}'
    cells = [f'[{setting["setting"]}]({setting["link"]})', compared, setting['metric']]
    if 'from' not in setting:
        return [*cells, '-', '-', 'not run']
    sides = [_values(setting['from'], side, folder) for side in ('row', 'reference')]
    difference = difference_of(setting['setting'], *sides, setting.get('unit', 1))
    if difference is None:
        raise ValueError(f'{setting["setting"]}: the rows share no seed')
    return [*cells, str(difference.seeds), str(difference), f'**{difference.verdict}**']


def difference_of(
    name: str, values: Values, reference: Values, unit: float = 1
) -> Difference | None:
    """Return the mean difference over the seeds that both have; None if they share none.

    Args:
        name: Of the row, for the message.
        values: Of the row.
        reference: What they are compared with.
        unit: Factor on the values.

    Raises:
        ValueError: If they are of different epochs.
    """
    epochs = {epoch for side in (values, reference) for epoch, _ in side.values()}
    if len(epochs) > 1:
        raise ValueError(f'{name}: evaluations of epochs {sorted(epochs)} are not compared')
    sides = (
        {seed: unit * value for seed, (_, value) in side.items()} for side in (values, reference)
    )
    return paired_difference(*sides)


def _values(source: Mapping[str, Any], side: str, folder: Path) -> Values:
    """Return the values of one of the two rows.

    Args:
        source: Its ``kind`` is a key of ``_KINDS``, and it has that function's arguments, ``row`` and
            ``reference`` among them.
        side: ``'row'`` or ``'reference'``.
        folder: Of the paths.
    """
    arguments = {
        key: value for key, value in source.items() if key not in ('kind', 'row', 'reference')
    }
    found = _KINDS[source['kind']](folder, source[side], **arguments)
    if not found:
        raise ValueError(f'no values of {source[side]}')
    return found


def _of_records(folder: Path, name: str, file: str) -> Values:
    """Read the file of records that ``mmmuse table`` writes: the last epoch of the full network."""
    found = {}
    for record in json.loads((folder / file).read_text(encoding='utf-8')):
        if record['row'] == name:
            last = max(record['epochs'], key=int)
            found[record['seed']] = int(last), record['epochs'][last]['top1']
    return found


def of_logs(folder: Path, pattern: str, metric: str) -> Values:
    """Read text logs: the last evaluation of each; its seed is the number at the end of the file's name.

    Of several networks that are trained together it is the mean.
    """
    scalar = re.compile(rf'(?:^| )(?:average/)?{re.escape(metric)}: +(\S+)')
    found = {}
    for log in map(Path, sorted(glob(str(folder / pattern)))):
        seed = _SEED.search(log.name)
        logged = [
            (int(epoch[1]), float(match[1]))
            for line in log.read_text(encoding='utf-8').splitlines()
            if (epoch := _EVALUATION.search(line)) and (match := scalar.search(line))
        ]
        if seed and logged:
            if int(seed[1]) in found:
                raise ValueError(f'{pattern}: two logs of seed {seed[1]}')
            found[int(seed[1])] = logged[-1]
    return found


def _of_csv(folder: Path, name: str, file: str, column: str, epoch: str) -> Values:
    """Read a CSV file with the columns ``row``, ``epoch`` and, if there are several, ``seed``."""
    with (folder / file).open(newline='', encoding='utf-8') as lines:
        rows = [row for row in csv.DictReader(lines) if (row['row'], row['epoch']) == (name, epoch)]
    return {
        int(row.get('seed', 0)): (int(epoch), float(row[column])) for row in rows if row[column]
    }


_KINDS: dict[str, Callable[..., Values]] = {
    'records': _of_records,
    'logs': of_logs,
    'csv': _of_csv,
}


def replaced(page: str, content: str) -> str:
    """Return a page with other lines between the two comments.

    Raises:
        ValueError: If it has not both.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f'the page needs the lines {BEGIN} and {END}')
    return f'{before}{BEGIN}\n\n{content}\n\n{END}{after}'


def _line(cells: tuple[str, ...] | list[str]) -> str:
    return f'| {" | ".join(cells)} |'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('file', type=Path, help='docs/results/does_it_help.json')
    parser.add_argument('--into', type=Path, metavar='PAGE', help='page whose table is replaced')
    args = parser.parse_args()
    try:
        written = table(args.file)
        if args.into is None:
            print(written)
        else:
            page = args.into.read_text(encoding='utf-8')
            args.into.write_text(replaced(page, written), encoding='utf-8')
    except (OSError, ValueError, KeyError) as error:
        print(f'error: {type(error).__name__}: {error}', file=sys.stderr)
        sys.exit(1)


if __name__ == '__main__':
    main()
