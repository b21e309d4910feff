"""The command ``mmmuse report``."""

import argparse
import io
import re
from collections.abc import Callable
from pathlib import Path

from matplotlib import pyplot as plt

from mmmuse.analysis.detection_pictures import read_pictures
from mmmuse.analysis.early_exit_table import EARLY_EXIT_FILE, read_early_exit
from mmmuse.analysis.exit_figure import Line
from mmmuse.analysis.pictured_data import class_names, picture_name
from mmmuse.analysis.report_content import Report
from mmmuse.analysis.report_page import render
from mmmuse.analysis.run_accuracy import baseline_of, chosen_exit, columns_of, last_accuracy
from mmmuse.analysis.run_costs import RunCost, costs_of_run
from mmmuse.analysis.run_record import RunRecord, read_run
from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.checkpoints.synced_write import write_synced
from mmmuse.command_line.config import check_at_least
from mmmuse.command_line.explain import explained, explanation
from mmmuse.command_line.progress import Work, shown
from mmmuse.command_line.report import check_new_path
from mmmuse.datasets.load_checked_image import check_loaded_images
from mmmuse.errors import InputError
from mmmuse.export.trained import load_trained_detector, trains_detector

_SAVED = re.compile(r'(?:epoch|iter)_(\d{1,9})\.pth')


def main(args: argparse.Namespace) -> None:
    with explained():
        refuse_code_in_files(args.trust_checkpoint)
        check_loaded_images()
        out = args.out or args.work_dir / 'report.html'
        check(args, out)
        with shown('writing the report', 4 + (args.pictures or 0)) as work:
            report = gather(args, work)
            content = render(report).encode()
        write(out, content)
        print(f'written to {out}')


def check(args: argparse.Namespace, out: Path) -> None:
    """Refuse what cannot be read or written, before anything is computed."""
    if not args.work_dir.is_dir():
        raise InputError(f'no work dir {args.work_dir}')
    if args.out is not None:  # The report of a run in its work dir is replaced.
        check_new_path(out)
    check_at_least(args, pictures=1, max_loss=0)
    if not 0 <= args.score <= 1:
        raise InputError(f'--score is between 0 and 1, got {args.score}')
    if args.checkpoint is not None and args.pictures is None:
        raise InputError('--checkpoint is of the pictures: add --pictures N')


def write(out: Path, content: bytes) -> None:
    """Write the page as a whole."""
    try:
        write_synced(out, content)
    except InputError as error:
        raise InputError(f'cannot write {out}: {error.__cause__}') from error


def gather(args: argparse.Namespace, work: Work) -> Report:
    """Read the run and what was measured of it, and count the cost of its exits."""
    record = read_run(args.work_dir)
    baseline = baseline_for(args, record)
    early_exit = early_exit_of(args)
    found = pictures_of_folder(args)
    text = ''
    if record.config_file is not None:
        text = record.config_file.read_text(encoding='utf-8', errors='replace')
    work.advance()
    costs, note = costs_of(record)
    columns = columns_of(record, max(costs, default=None))
    accuracy = last_accuracy(columns, record.evaluations)
    chosen = None
    if len(accuracy) > 1:
        macs = {number: cost.macs for number, cost in costs.items()}
        chosen = chosen_exit(accuracy, record.evaluations, macs, baseline, args.max_loss)
        if chosen is None and args.max_loss is not None:
            raise InputError(
                f'--max-loss is in points, and the unit of {record.evaluations.metric} is not known: '
                'give --baseline instead'
            )
    work.advance()
    if args.pictures is not None:
        number = chosen.choice.number if chosen else None
        found = draw_pictures(args, record, number, work.advance)
    return Report(record, columns, accuracy, costs, note, baseline, chosen, early_exit, found, text)


def baseline_for(args: argparse.Namespace, record: RunRecord) -> Line | None:
    if args.baseline is not None:
        return Line('baseline', args.baseline)
    if args.baseline_dir is not None:
        return baseline_of(read_run(args.baseline_dir), record.evaluations)
    return None


def early_exit_of(args: argparse.Namespace) -> list[dict]:
    """Read the table of the folder that is given, or else of the newest one in the work dir."""
    if args.early_exit is not None:
        return read_early_exit(args.early_exit / EARLY_EXIT_FILE)
    tables = [path for path in args.work_dir.glob(f'*/{EARLY_EXIT_FILE}') if path.is_file()]
    newest = max(tables, key=lambda path: path.stat().st_mtime, default=None)
    return [] if newest is None else read_early_exit(newest)


def pictures_of_folder(args: argparse.Namespace) -> dict[str, bytes]:
    if args.detections is not None:
        return read_pictures(args.detections)
    usual = args.work_dir / 'detections'
    return read_pictures(usual) if args.pictures is None and usual.is_dir() else {}


def costs_of(record: RunRecord) -> tuple[dict[int, RunCost], str]:
    """Return the cost of every exit, and what it is of, or why it was not counted."""
    if 'model' not in record.config:
        return {}, 'The cost was not measured: the config was not dumped.'
    try:
        costs, shape = costs_of_run(record.config)
    except Exception as error:  # A model of a module that is not imported, or not of this version.
        reason = explanation(error) or f'{type(error).__name__}: {error}'
        return {}, f'The cost was not measured: {" ".join(reason.split())[:300]}.'
    size = ' x '.join(map(str, shape))
    return costs, f'Cost of each exit as a plain network, for one image of {size}.'


def draw_pictures(
    args: argparse.Namespace, record: RunRecord, chosen: int | None, drawn: Callable[[], None]
) -> dict[str, bytes]:
    """Draw ground truth, detector and exits in the first images of the validation data."""
    from mmmuse.analysis.detection_figure import draw_detections, images_of_split  # Needs mmdet.

    config = record.config
    if not trains_detector(config):
        raise InputError('--pictures needs the run of a detector of mmdet')
    checkpoint = args.checkpoint or last_checkpoint(record)
    detector = load_trained_detector(config, checkpoint, args.trust_checkpoint)
    classes = class_names(config, 'val', detector)
    pictures: dict[str, bytes] = {}
    for found in images_of_split(config, 'val', detector, args.pictures, args.score):
        figure = draw_detections(found, classes, f'; scores from {args.score:g}', chosen)
        buffer = io.BytesIO()
        figure.savefig(buffer, format='png', dpi=110, bbox_inches='tight')
        plt.close(figure)
        pictures[picture_name(found.path, list(pictures))] = buffer.getvalue()
        drawn()
    return pictures


def last_checkpoint(record: RunRecord) -> str:
    """Return the checkpoint of the last epoch or step that was saved."""
    saved = [match for match in map(_SAVED.fullmatch, record.checkpoints) if match]
    last = max(saved, key=lambda match: int(match[1]), default=None)
    if last is None:
        raise InputError(f'{record.work_dir} has no checkpoint: pass --checkpoint FILE')
    return str(record.work_dir / last[0])
