"""Tables for people, JSON for programs."""

import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import torch
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from mmmuse.errors import InputError


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their columns; the first column is text, the others are figures."""
    table = Table(title=title, title_justify='left', box=SIMPLE)
    for i, column in enumerate(columns):
        table.add_column(column, justify='right' if i else 'left', overflow='fold')
    for row in rows:
        table.add_row(*map(str, row))
    # Into a file or a pipe a row stays on its line.
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def check_json(path: str | None) -> None:
    """Refuse a file that could not be written, before anything is measured.

    Raises:
        InputError: If its folder does not exist.
    """
    if path is not None and not Path(path).parent.is_dir():
        raise InputError(f'no folder {Path(path).parent} to write --json into')


def check_new_folder(path: Path) -> None:
    """Refuse a folder that exists or could not be made, before anything is measured.

    Raises:
        InputError: If so.
    """
    if path.exists():
        raise InputError(f'{path} exists; it is left as it is')
    if not path.absolute().parent.is_dir():
        raise InputError(f'no folder {path.absolute().parent} to write into')


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Write into a folder that is there in the end, whole, or not at all."""
    folder = Path(mkdtemp(prefix=f'.{out.name}.', dir=out.absolute().parent))
    try:
        yield folder
        folder.chmod(0o755)
        folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_json(path: str | None, figures: dict, device: str = 'cpu') -> None:
    """Write figures to a file, with the command and the hardware they were measured on."""
    if path is not None:
        record = {'command': ' '.join(sys.argv), **figures, 'hardware': hardware(device)}
        Path(path).write_text(json.dumps(record, indent=2) + '\n')


def hardware(device: str = 'cpu') -> str:
    """Describe the machine in words: processor, threads, torch."""
    processor = platform.processor() or platform.machine()
    for line in (
        Path('/proc/cpuinfo').read_text().splitlines() if os.path.exists('/proc/cpuinfo') else ()
    ):
        if line.startswith('model name'):
            processor = line.partition(':')[2].strip()
            break
    if device.startswith('cuda'):
        processor = torch.cuda.get_device_name(device)
    return f'{processor}, {torch.get_num_threads()} threads, torch {torch.__version__}'
