"""The command ``mmmuse table``."""

import argparse
import fcntl
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.explain import explained
from mmmuse.command_line.progress import Work, shown
from mmmuse.command_line.report import this_command
from mmmuse.command_line.signals import ENDING
from mmmuse.errors import InputError
from mmmuse.jobs.code_version import code_version
from mmmuse.jobs.devices import check_devices
from mmmuse.jobs.local import LocalJobs
from mmmuse.jobs.slurm import SlurmJobs
from mmmuse.tables import (
    Record,
    Run,
    Table,
    plan_runs,
    read_record,
    read_table,
    run_all,
    write_report,
)
from mmmuse.tables.queue import Jobs
from mmmuse.tables.record import (
    finished_at,
    logged_hardware,
    read_records,
    save_record,
    write_record,
)

from .table_flags import check_table_flags

_JOBS = '.jobs'  # Folder of submitit's files for Slurm, in the work dir.


def main(args: argparse.Namespace) -> None:
    for number in ENDING:  # In the background, the shell may have set some of them to be ignored.
        signal.signal(number, signal.default_int_handler)
    with explained('interrupted; the same command goes on'):
        refuse_code_in_files()
        options = check_table_flags(args)
        folder = Path(args.work_dir)
        stem = Path(args.table).stem
        out = folder / (stem if args.epochs is None else f'{stem}_{args.epochs}e')
        table = read_table(args.table)
        check_rows(table, args.rows)
        devices = check_devices(args.device) if options is None else []
        runs = plan_runs(table, args.seeds, folder, args.epochs, args.cfg_options)
        known = {
            folder / key: record
            for file in args.records
            for key, record in read_records(Path(file)).items()
        }
        if known:
            with locked(folder):
                taken = take_records(runs, known)
            print(
                f'{taken} of {len(runs)} runs taken from {", ".join(args.records)}', file=sys.stderr
            )
        waiting = {} if args.report else waiting_runs(runs, args.rows)
        note_other_commits(runs)
        note_older_than_source(runs)
        failed = {}
        if waiting:
            jobs = (
                LocalJobs(devices)
                if options is None
                else SlurmJobs(options, folder.absolute() / _JOBS, args.cancel_on_interrupt)
            )
            with locked(folder):
                place = f'on {", ".join(devices)}' if options is None else 'in Slurm'
                print(f'{len(waiting)} of {len(runs)} runs to do, {place}', file=sys.stderr)
                failed = fill(table, runs, list(waiting.values()), jobs, out, train_command(args))
        for path in write_report(table, runs, out, this_command()):
            print(path)
    for name, line in failed.items():
        print(f'error: {name}: {line}', file=sys.stderr)
    sys.exit(bool(failed))


def take_records(runs: list[Run], known: Mapping[Path, Record]) -> int:
    """Finish the runs whose records are known from elsewhere, and return how many these are.

    A run that one which is still to be trained goes on from is not finished by its record: its checkpoint is needed.

    Args:
        runs: Of the table.
        known: Records by the folder of the run.
    """
    taken = {
        run.work_dir: run
        for run in runs
        if run.work_dir in known
        and known[run.work_dir].metric == run.row.metric
        and read_record(run) is None
    }
    by_folder = {run.work_dir: run for run in runs}
    for run in runs:
        if run.work_dir not in taken and read_record(run) is None:
            while run.after is not None:
                taken.pop(run.after, None)
                run = by_folder[run.after]
    for folder, run in taken.items():
        save_record(run, known[folder])
    return len(taken)


def waiting_runs(runs: list[Run], rows: list[str] | None) -> dict[Path, Run]:
    """Return the runs to train, by their folder.

    They are those without a record, and those without a checkpoint that one of these goes on from.

    Args:
        runs: Of the table.
        rows: Names of the rows that are trained; None for all.

    Raises:
        InputError: If a run of another row has to be trained before.
    """
    by_folder = {run.work_dir: run for run in runs}
    waiting = {
        run.work_dir: run
        for run in runs
        if read_record(run) is None and (rows is None or run.row.name in rows)
    }
    for run in list(waiting.values()):
        while run.after is not None and run.after not in waiting:
            before = by_folder[run.after]
            if read_record(before) is not None and before.checkpoint.is_file():
                break
            if rows is not None and before.row.name not in rows:
                raise InputError(f'{run.name} needs {before.name}: add its row to --rows')
            waiting[run.after] = run = before
    return {run.work_dir: run for run in runs if run.work_dir in waiting}


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


def note_older_than_source(runs: list[Run]) -> None:
    """Warn of finished runs that went on from a run, such as a teacher, that was trained again since."""
    by_folder = {run.work_dir: run for run in runs}
    outdated = [
        run.name
        for run in runs
        if run.after is not None
        and (own := finished_at(run)) is not None
        and (source := finished_at(by_folder[run.after])) is not None
        and own < source
    ]
    if outdated:
        print(
            f'kept, although what they went on from was trained again later: {"; ".join(outdated)} '
            '(delete their folders to run them again)',
            file=sys.stderr,
        )


def train_command(args: argparse.Namespace) -> list[str]:
    """Return the command that trains a run, by torchrun on several GPUs."""
    if args.cluster == 'slurm' and args.gpus_per_run > 1:
        torchrun = [
            'torch.distributed.run',
            '--standalone',
            f'--nproc_per_node={args.gpus_per_run}',
        ]
        return [sys.executable, '-m', *torchrun, '-m', 'mmmuse', 'train', '--launcher', 'pytorch']
    return [sys.executable, '-m', 'mmmuse', 'train']


def fill(
    table: Table, runs: list[Run], waiting: list[Run], jobs: Jobs, out: Path, train: list[str]
) -> dict[str, str]:
    """Train the runs that are not finished, and write the table after each."""

    def finished(run: Run) -> None:
        command = f'mmmuse train {shlex.join(run.arguments())}'
        write_record(run, command, logged_hardware(run.work_dir))
        work.advance()
        write_report(table, runs, out, this_command())

    # In a terminal the bars of the runs are shown.
    lines = (
        nullcontext(Work('')) if sys.stderr.isatty() else shown('training the runs', len(waiting))
    )
    with lines as work:
        return run_all(waiting, jobs, train, finished)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder for one command at a time.

    Raises:
        InputError: If another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / '.lock').open('w', encoding='utf-8') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f'another command is running in {folder}') from error
        except OSError as error:  # A file system without locks.
            print(
                f'{folder} cannot be locked ({error.strerror}): run one command at a time in it',
                file=sys.stderr,
            )
        yield
