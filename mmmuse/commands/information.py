"""The command ``mmmuse information``."""

import argparse
from pathlib import Path

from matplotlib.backend_bases import FigureCanvasBase

from mmmuse.analysis.information import read_information, read_training
from mmmuse.analysis.information_figure import draw_information
from mmmuse.analysis.information_table import information_table, markdown_table, write_csv
from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.explain import explained
from mmmuse.command_line.progress import shown
from mmmuse.command_line.report import check_new_path
from mmmuse.errors import InputError


def main(args: argparse.Namespace) -> None:
    with explained():
        refuse_code_in_files()
        check(args)
        titles = args.titles or [folder.name for folder in args.work_dirs]
        if len(titles) != len(args.work_dirs) or len(set(titles)) != len(titles):
            raise InputError(
                f'each run needs its own title, got {len(titles)} titles for '
                f'{len(args.work_dirs)} runs: {", ".join(titles)}'
            )
        folders = dict(zip(titles, args.work_dirs, strict=True))
        if args.table:
            runs = {title: read_training(folder) for title, folder in folders.items()}
            rows = information_table(runs, args.step)
            print(markdown_table(rows))
            if args.csv is not None:
                write_csv(rows, args.csv)
        if args.out is not None or not args.table:
            out = args.out or Path('information.png')
            with shown('reading the logs and drawing'):
                runs = {title: read_information(folder) for title, folder in folders.items()}
                draw_information(runs, out)
            print(f'written to {out}')


def check(args: argparse.Namespace) -> None:
    """Refuse flags that do nothing, and a picture that cannot be written."""
    if not args.table and (args.step is not None or args.csv is not None):
        raise InputError('--step and --csv are of the table: add --table')
    if args.out is not None:
        check_new_path(args.out)
    kinds = FigureCanvasBase.get_supported_filetypes()
    if args.out is not None and args.out.suffix[1:].lower() not in kinds:
        raise InputError(f'--out is a picture (.png, .pdf, .svg, .jpg, ...), got {args.out}')
