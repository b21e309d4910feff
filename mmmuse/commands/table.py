"""The command ``mmmuse table``."""

import argparse
import fcntl
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch

from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.explain import explained
from mmmuse.command_line.progress import Work, shown
from mmmuse.command_line.report import hardware, this_command
from mmmuse.command_line.signals import ENDING
from mmmuse.errors import InputError
from mmmuse.tables import Run, Table, plan_runs, read_record, read_table, run_all, write_report
from mmmuse.tables.record import code_version, write_record
from mmmuse.tables.slots import check_devices, environment

TRAIN = [sys.executable, '-m', 'mmmuse', 'train']


def main(args: argparse.Namespace) -> None:
    for number in ENDING:  # In the background, the shell may have set some of them to be ignored.
        signal.signal(number, signal.default_int_handler)
    with explained('interrupted; the same command goes on'):
        refuse_code_in_files()
        folder = Path(args.work_dir)
        stem = Path(args.table).stem
        out = folder / (stem if args.epochs is None else f'{stem}_{args.epochs}e')
        table = read_table(args.table)
        check_rows(table, args.rows)
        devices = check_devices(args.device)
        runs = plan_runs(table, args.seeds, folder, args.epochs, args.cfg_options)
        waiting = {
            run.work_dir: run
            for run in runs
            if read_record(run) is None and (args.rows is None or run.row.name in args.rows)
        }
        note_other_commits(runs)
        failed = {}
        if waiting and not args.report:
            with locked(folder) as lock:
                failed = fill(table, runs, list(waiting.values()), devices, out, lock)
        for path in write_report(table, runs, out, this_command()):
            print(path)
    for name, line in failed.items():
        print(f'error: {name}: {line}', file=sys.stderr)
    sys.exit(bool(failed))


def check_rows(table: Table, names: list[str] | None) -> None:
    """Check that the table has rows of these names."""
    known = [row.name for row in table.rows]
    missing = sorted(set(names or ()) - set(known))
    if missing:
        raise InputError(f'unknown row {", ".join(missing)}; available: {", ".join(known)}')


def note_other_commits(runs: list[Run]) -> None:
    """Warn of finished runs of other commits, whose defaults may differ."""
    now = code_version()
    records = [record for run in runs if (record := read_record(run)) is not None]
    others = sorted({record.commit for record in records} - {now})
    if others:
        print(
            f'finished runs of other commits than {now} are kept: {"; ".join(others)} (delete '
            'their folders to run them again)',
            file=sys.stderr,
        )


def fill(
    table: Table, runs: list[Run], waiting: list[Run], devices: list[str], out: Path, lock: int
) -> dict[str, str]:
    """Train the runs that are not finished, and write the table after each."""
    if 'cpu' in devices:
        torch.set_num_threads(int(environment('cpu', devices)['OMP_NUM_THREADS']))

    def finished(run: Run, device: str) -> None:
        work.advance()
        command = f'mmmuse train {shlex.join(run.arguments())}'
        write_record(run, command, hardware(device))
        write_report(table, runs, out, this_command())

    print(f'{len(waiting)} of {len(runs)} runs to do, on {", ".join(devices)}', file=sys.stderr)
    # In a terminal the bars of the runs are shown.
    lines = (
        nullcontext(Work('')) if sys.stderr.isatty() else shown('training the runs', len(waiting))
    )
    with lines as work:
        return run_all(waiting, devices, TRAIN, finished, keep_open=[lock])


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Lock a folder, and return the file descriptor; the last process to close it ends the lock.

    Raises:
        InputError: If another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / '.lock').open('w', encoding='utf-8') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f'another command is running in {folder}') from error
        yield lock.fileno()
