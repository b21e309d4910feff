"""Run the configs of a table, go on where that was stopped, and write the table.

``python tools/benchmark/table.py configs/tables/table5.py --seeds 0 1 2``
"""

import argparse
import fcntl
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from mmengine.config import DictAction

from mmmuse.command_line.explain import explained
from mmmuse.command_line.report import hardware
from mmmuse.errors import InputError
from mmmuse.tables import Run, Table, plan_runs, read_record, read_table, run_all, write_report
from mmmuse.tables.record import write_record
from mmmuse.tables.slots import check_devices, environment

TRAIN = Path(__file__).resolve().parents[1] / 'train.py'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('table', help='a file of configs/tables, or your own')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument(
        '--epochs', type=int, help='of every run, its schedule scaled; the configs own by default'
    )
    parser.add_argument(
        '--device',
        nargs='+',
        help='cpu, cuda:0, ...: one run at a time on each; name one twice for two at a time; '
        'every GPU by default, or else the CPU',
    )
    parser.add_argument('--rows', nargs='+', metavar='NAME', help='only these rows')
    parser.add_argument(
        '--work-dir', default='work_dirs/tables', help='where runs lie and the table is written'
    )
    parser.add_argument(
        '--report', action='store_true', help='write the table from what is there; run nothing'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='override config keys of every row',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # Also in the background, where one is ignored.
        signal.signal(number, signal.default_int_handler)
    with explained('interrupted; the same command goes on'):
        folder = Path(args.work_dir)
        out = folder / Path(args.table).stem
        table = chosen_rows(read_table(args.table), args.rows)
        devices = check_devices(args.device)
        runs = plan_runs(table, args.seeds, folder, args.epochs, args.cfg_options)
        waiting = {run.work_dir: run for run in runs if read_record(run) is None}
        failed = {}
        if waiting and not args.report:
            with alone_in(folder):
                failed = fill(table, runs, list(waiting.values()), devices, out)
        for path in write_report(table, runs, out, command_line()):
            print(path)
    for name, line in failed.items():
        print(f'error: {name}: {line}', file=sys.stderr)
    sys.exit(bool(failed))


def chosen_rows(table: Table, names: list[str] | None) -> Table:
    """Return the table with the named rows alone."""
    if names is None:
        return table
    missing = set(names) - {row.name for row in table.rows}
    if missing:
        raise InputError(
            f'no row {", ".join(sorted(missing))}; there are '
            f'{", ".join(row.name for row in table.rows)}'
        )
    return replace(table, rows=tuple(row for row in table.rows if row.name in names))


def fill(
    table: Table, runs: list[Run], waiting: list[Run], devices: list[str], out: Path
) -> dict[str, str]:
    """Train what is not finished, and write the table after each run."""
    if 'cpu' in devices:
        torch.set_num_threads(int(environment('cpu', devices)['OMP_NUM_THREADS']))
    commit = code_version()

    def finished(run: Run, device: str) -> None:
        command = f'python tools/train.py {shlex.join(run.arguments())}'
        write_record(run, table.metric, command, commit, hardware(device))
        write_report(table, runs, out, command_line())

    print(f'{len(waiting)} of {len(runs)} runs to do, on {", ".join(devices)}', file=sys.stderr)
    return run_all(waiting, devices, TRAIN, table.metric, finished)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, which ends with the process.

    Raises:
        InputError: If another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / '.lock').open('w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f'another command is filling {folder}') from error
        yield


def code_version() -> str:
    """Return the commit of the code, with ``-dirty`` if there are changes in it."""
    command = ['git', 'describe', '--always', '--dirty', '--exclude', '*']
    try:
        answer = subprocess.run(
            command, cwd=TRAIN.parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'
    return answer.stdout.strip()


def command_line() -> str:
    return f'python {shlex.join(sys.argv)}'


if __name__ == '__main__':
    main()
