"""Train the runs of a table, continue those that were stopped, and write the table.

``mmmuse table configs/tables/table5.py --seeds 0 1 2``
"""

import argparse

from .shared import add_config_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'table', help='mmmuse::tables/table5.py, or another file of configs/tables, or your own'
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument(
        '--epochs',
        type=int,
        help='epochs of every run, with the schedule scaled; by default those of the config',
    )
    parser.add_argument(
        '--device',
        nargs='+',
        help='cpu, cuda:0, ...: one run at a time on each; give one twice for two at a time; '
        'every GPU by default, or else the CPU',
    )
    parser.add_argument('--rows', nargs='+', metavar='NAME', help='train only these rows')
    parser.add_argument(
        '--work-dir', default='work_dirs/tables', help='folder of the runs and the table'
    )
    parser.add_argument(
        '--report', action='store_true', help='write the table from the finished runs; run nothing'
    )
    add_config_options(parser, 'optim_wrapper.type=mmmuse.BFloat16OptimWrapper (as --amp does)')
