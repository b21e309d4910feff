"""Print the last evaluation of each log as mean and standard deviation over the seeds.

``python docs/builder/log_means.py 'plain=docs/results/segmentation/unet_membrane_seed*.log' --metrics mIoU exit3/mIoU``
"""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

from does_it_help import Values, difference_of, of_logs

# Values of each metric, by the name of the row.
Rows = Mapping[str, Sequence[Values]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument(
        'rows', nargs='+', metavar='NAME=LOGS', help='a name, and a pattern of files'
    )
    parser.add_argument('--metrics', nargs='+', required=True)
    parser.add_argument(
        '--against',
        metavar='NAME',
        help='print the differences from this row, too, paired by seed, with 95 %% intervals',
    )
    args = parser.parse_args()
    try:
        rows = _read(args.rows, args.metrics)
        tables = [_table(['row', 'seeds', *args.metrics], _means(rows))]
        if args.against is not None:
            header = [f'row, against {args.against}', *args.metrics]
            tables.append(_table(header, _differences(rows, args.against)))
    except ValueError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(1)
    print('\n\n'.join(tables))


def _read(rows: Sequence[str], metrics: Sequence[str]) -> Rows:
    read = {}
    for row in rows:
        name, _, pattern = row.partition('=')
        if name in read:
            raise ValueError(f'{name}: two rows of this name')
        read[name] = [of_logs(Path(), pattern, metric) for metric in metrics]
        seeds = [values.keys() for values in read[name] if values]
        if not seeds:
            raise ValueError(f'{name}: no evaluation in {pattern or "(no pattern)"}')
        if any(others != seeds[0] for others in seeds):
            raise ValueError(f'{name}: the metrics are of different seeds')
        epochs = {epoch for values in read[name] for epoch, _ in values.values()}
        if len(epochs) > 1:
            raise ValueError(f'{name}: evaluations of epochs {sorted(epochs)} are not averaged')
    return read


def _means(rows: Rows) -> Iterable[list[str]]:
    for name, found in rows.items():
        seeds = sorted(set().union(*found))
        yield [name, ', '.join(map(str, seeds)), *map(_spread, found)]


def _spread(found: Values) -> str:
    if not found:
        return '-'
    values = [value for _, value in found.values()]
    spread = f' ± {stdev(values):.2f}' if len(values) > 1 else ''
    return f'{mean(values):.2f}{spread}'


def _differences(rows: Rows, against: str) -> Iterable[list[str]]:
    if against not in rows:
        raise ValueError(f'--against {against}: no such row; the rows are {", ".join(rows)}')
    for name, found in rows.items():
        if name != against:
            pairs = zip(found, rows[against], strict=True)
            yield [name, *(str(difference_of(name, *pair) or '-') for pair in pairs)]


def _table(header: list[str], lines: Iterable[list[str]]) -> str:
    return '\n'.join(f'| {" | ".join(line)} |' for line in (header, ['---'] * len(header), *lines))


if __name__ == '__main__':
    main()
