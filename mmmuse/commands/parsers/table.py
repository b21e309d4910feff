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
    parser.add_argument(
        '--records',
        nargs='+',
        default=[],
        metavar='FILE',
        help='the NAME.json that this command has written elsewhere: its runs count as finished here, as far '
        'as their configs are the same',
    )
    parser.add_argument(
        '--cluster',
        choices=['local', 'slurm'],
        default='local',
        help='local (default): on the devices of this machine; Ctrl-C interrupts the runs. slurm: one '
        'job a run, queued again and resumed when it is preempted or its time is over; Ctrl-C leaves '
        'the jobs. Started again, the command goes on with what is still running',
    )
    slurm = parser.add_argument_group('with --cluster slurm')
    slurm.add_argument('--partition', help="default: Slurm's default partition")
    slurm.add_argument(
        '--gpus-per-run',
        type=int,
        metavar='N',
        help='1 by default; 0 trains on the CPU; of several, each takes batches of the size in the '
        'config (torchrun)',
    )
    slurm.add_argument('--cpus-per-run', type=int, metavar='N', help='5 by default')
    slurm.add_argument(
        '--array-parallelism', type=int, metavar='N', help='jobs at a time; 16 by default'
    )
    slurm.add_argument(
        '--time',
        metavar='LIMIT',
        help='time limit of one job, e.g. 12:00:00; default: a day, or the limit of the partition',
    )
    slurm.add_argument(
        '--slurm',
        nargs='+',
        metavar='OPTION=VALUE',
        help='more options of sbatch, e.g. account=vision qos=long mem=32G',
    )
    slurm.add_argument(
        '--cancel-on-interrupt',
        action='store_true',
        help='Ctrl-C cancels the jobs; the same command resumes the runs',
    )
    add_config_options(parser, 'optim_wrapper.type=mmmuse.BFloat16OptimWrapper (as --amp does)')
