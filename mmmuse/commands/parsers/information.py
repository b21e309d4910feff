"""Draw the MI and SI losses of runs.

Upper row: MI loss of each shallow module with the last feature; middle row: SI loss; lower row:
the length of MUSE's gradient over that of the network's own loss. The dotted line is
the loss of an untrained Jensen-Shannon critic (2 log 2 nats).

``--table`` prints these at one step instead, beside the network's own loss, for runs with MUSE and
without: ``mmmuse information WORK_DIR ... --table --step 300``.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('work_dirs', nargs='+', type=Path, help='work dirs of runs')
    parser.add_argument('--titles', nargs='+', help='titles of the runs; folder names by default')
    parser.add_argument(
        '--out',
        type=Path,
        help='picture to write (.png, .pdf, .svg, ...), information.png by default; with --table none',
    )
    parser.add_argument(
        '--table', action='store_true', help='print a Markdown table, a row for each network'
    )
    parser.add_argument(
        '--step', type=int, help='of the table: the last logged step up to this one, not of all'
    )
    parser.add_argument('--csv', type=Path, help='write the table to this file as well')
