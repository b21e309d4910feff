"""The configs of the installed mmpretrain and mmdet, for the check of config keys.

``python -m tests.installed_configs`` checks all of them, each as its file and dumped flat into another
folder, and prints those that MMEngine cannot read, those that are refused, and warnings. It takes some minutes.
"""

import contextlib
import io
import sys
import tempfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from mmengine.config import Config

from mmmuse.command_line.config import load_config

PACKAGES = ('mmpretrain', 'mmdet')


def installed_configs(package: str) -> list[Path]:
    """Return the config files of a package, without those that are only bases, and scripts."""
    root = Path(find_spec(package).origin).parent / '.mim' / 'configs'
    files = sorted(root.rglob('*.py'))
    files = [file for file in files if not {'_base_', 'common'} & set(file.parts)]
    return [file for file in files if 'argparse' not in file.read_text(encoding='utf-8')]


class Checked(NamedTuple):
    """What became of one config: why MMEngine cannot read it, why it was refused, the warnings."""

    unreadable: str = ''
    refused: str = ''
    warned: str = ''


def check(file: Path) -> Checked:
    """Load a config as it is and dumped flat into another folder."""
    warned = io.StringIO()
    # Without yapf's layout, which takes most of the time.
    unformatted = mock.patch('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True))
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(warned), unformatted:
        flat = Path(folder) / file.name
        try:
            Config.fromfile(file).dump(flat)
        except Exception as error:
            return Checked(unreadable=f'{type(error).__name__}: {error}')
        try:
            load_config(str(file), {})
            load_config(str(flat), {})
        except Exception as error:
            return Checked(refused=f'{type(error).__name__}: {error}', warned=warned.getvalue())
    return Checked(warned=warned.getvalue())


def main() -> None:
    counts: Counter = Counter()
    for package in PACKAGES:
        for file in installed_configs(package):
            checked = check(file)
            counts['configs'] += 1
            for kind, line in checked._asdict().items():
                if line:
                    counts[kind] += 1
                    line = ' '.join(line.split())
                    print(f'{kind} {package}/{file.parent.name}/{file.name}: {line}', flush=True)
    print(dict(counts))
    sys.exit(bool(counts['refused']))


if __name__ == '__main__':
    main()
