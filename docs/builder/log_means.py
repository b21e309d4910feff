"""Print the last evaluation of each log as mean and standard deviation over the seeds.

``python docs/builder/log_means.py 'plain=docs/results/segmentation/unet_membrane_seed*.log' --metrics mIoU exit3/mIoU``
"""

import argparse
import sys
from pathlib import Path
from statistics import mean, stdev

from does_it_help import Values, of_logs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument(
        'rows', nargs='+', metavar='NAME=LOGS', help='a name, and a pattern of files'
    )
    parser.add_argument('--metrics', nargs='+', required=True)
    args = parser.parse_args()
    cells = [['row', 'seeds', *args.metrics], ['---'] * (2 + len(args.metrics))]
    for row in args.rows:
        name, _, pattern = row.partition('=')
        found = [of_logs(Path(), pattern, metric) for metric in args.metrics]
        if not any(found):
            print(f'error: {name}: no evaluation in {pattern or "(no pattern)"}', file=sys.stderr)
            sys.exit(1)
        sets = [values for values in found if values]
        if any(values.keys() != sets[0].keys() for values in sets):
            print(f'error: {name}: the metrics are of different seeds', file=sys.stderr)
            sys.exit(1)
        cells.append([name, ', '.join(map(str, sorted(sets[0]))), *map(_spread, found)])
    print('\n'.join(f'| {" | ".join(line)} |' for line in cells))


def _spread(found: Values) -> str:
    if not found:
        return '-'
    values = [value for _, value in found.values()]
    spread = f' ± {stdev(values):.2f}' if len(values) > 1 else ''
    return f'{mean(values):.2f}{spread}'


if __name__ == '__main__':
    main()
