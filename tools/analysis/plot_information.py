"""Draw figures 2 and 3 of the paper from runs: ``plot_information.py WORK_DIR ... --out FILE.png``.

Upper row: MI loss of each shallow module with the last feature; lower row: SI loss. The dotted
line is an uninformed critic (2 log 2 nats).
"""

import argparse
from pathlib import Path

from mmmuse.analysis.information import draw_information, read_information
from mmmuse.command_line.explain import explained
from mmmuse.errors import InputError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('work_dirs', nargs='+', type=Path, help='work dirs of runs, a column each')
    parser.add_argument(
        '--titles', nargs='+', help='titles of the columns; folder names by default'
    )
    parser.add_argument('--out', type=Path, default=Path('information.png'), help='PNG to write')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with explained():
        titles = args.titles or [folder.name for folder in args.work_dirs]
        if len(titles) != len(args.work_dirs) or len(set(titles)) != len(titles):
            raise InputError(
                f'each run needs its own title, got {len(titles)} titles for '
                f'{len(args.work_dirs)} runs: {", ".join(titles)}'
            )
        if not args.out.parent.is_dir():
            raise InputError(f'no folder {args.out.parent} to write into')
        runs = {title: read_information(folder) for title, folder in zip(titles, args.work_dirs)}
        draw_information(runs, args.out)
        print(f'written to {args.out}')


if __name__ == '__main__':
    main()
