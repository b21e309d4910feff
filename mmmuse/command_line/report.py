"""Output of the tools: tables on the terminal, JSON files and new folders."""

import json
import platform
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from mmmuse.errors import InputError

from .write_errors import naming_output


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; its first column is text, the others are figures."""
    from rich.box import SIMPLE  # Here: commands check paths before they import a library.
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify='left', box=SIMPLE)
    for i, column in enumerate(columns):
        table.add_column(column, justify='right' if i else 'left', overflow='fold')
    for row in rows:
        table.add_row(*map(str, row))
    # In a file or a pipe, rows are not wrapped.
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def check_json(path: str | None) -> None:
    """Check that a file can be written, before anything is measured.

    Raises:
        InputError: If the parent folder does not exist, or ``path`` is a folder.
    """
    if path is None:
        return
    if not Path(path).parent.is_dir():
        raise InputError(f'no folder {Path(path).parent} to write --json into')
    if Path(path).is_dir():
        raise InputError(f'--json {path} is a folder; name a file')


def check_new_path(path: Path) -> None:
    """Check that a file or folder can be created, before anything is computed.

    Raises:
        InputError: If it exists, or its folder does not.
    """
    if path.exists():
        raise InputError(f'{path} already exists')
    if not path.absolute().parent.is_dir():
        raise InputError(f'no folder {path.absolute().parent} to write into')


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Write into a temporary folder, which is renamed at the end, or removed on an error."""
    parent = out.absolute().parent
    with naming_output(out, parent):
        folder = Path(mkdtemp(prefix=f'.{out.name}.', dir=parent))
    try:
        with naming_output(out, folder):
            yield folder
            folder.chmod(0o755)
            folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_json(path: str | None, figures: dict, device: str = 'cpu') -> None:
    """Write figures to a file, with the command and the hardware they were measured on."""
    if path is not None:
        from mmmuse.checkpoints.synced_write import write_synced  # Takes time to import.

        record = {'command': this_command(), **figures, 'hardware': hardware(device)}
        write_synced(path, (json.dumps(record, indent=2) + '\n').encode())


def this_command() -> str:
    """Return the command line of this process, as it can be pasted."""
    program, *arguments = sys.argv
    is_mmmuse = Path(program).name in ('__main__.py', 'mmmuse')
    return shlex.join([*(['mmmuse'] if is_mmmuse else ['python', program]), *arguments])


def hardware(device: str = 'cpu') -> str:
    """Describe the machine: processor, threads, version of torch."""
    import torch  # Here: commands check paths before they import it.

    cpu_info = Path('/proc/cpuinfo')
    name = (
        re.search(r'model name\s*: *(.+)', cpu_info.read_text(encoding='utf-8'))
        if cpu_info.exists()
        else None
    )
    processor = name[1] if name else platform.processor() or platform.machine()
    if device.startswith('cuda'):
        processor = torch.cuda.get_device_name(device)
    return f'{processor}, {threads()}, torch {torch.__version__}'


def threads() -> str:
    """Return with how many threads PyTorch computes, in words."""
    import torch

    number = torch.get_num_threads()
    return f'{number} thread{"s" * (number != 1)}'
