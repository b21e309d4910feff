"""What is wrong with the arguments of a command, found before the libraries are imported.

It takes a fraction of a second instead of the many that the imports take. Only what is surely wrong is
refused: what cannot be known yet, the command itself checks.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmmuse.command_line.data_paths import (
    check_data_exists,
    check_files_exist,
    check_named_file,
    check_pretrained_exist,
)
from mmmuse.command_line.report import check_json, check_new_path
from mmmuse.command_line.static_config import static_config
from mmmuse.errors import InputError

from .named_paths import check_named_paths, config_file, with_data_root
from .table_flags import check_table_flags

# Commands whose --out is a file or a folder that they create.
_CREATE = {'export', 'exits', 'early-exit', 'detections', 'cache-teacher'}


def check_early(command: str, args: argparse.Namespace) -> None:
    """Check files that the arguments name, and the data of a config that can be read without running it.

    Args:
        command: Its name.
        args: Its arguments; ``cfg_options`` a list of ``KEY=VALUE``.

    Raises:
        InputError: If one does not exist, or an output cannot be written.
    """
    if command == 'table':
        check_table_flags(args)
    name = getattr(args, 'config', None)
    file = None if name is None else config_file(name)
    if command in _CREATE:
        check_output(command, Path(args.out))
    if command == 'wrap':
        check_new_config(args.out)
    if command != 'report':  # Which reads it.
        check_work_dir('--work-dir', getattr(args, 'work_dir', None))
    check_json(getattr(args, 'json', None))
    check_named_paths(command, args)
    checkpoint = getattr(args, 'checkpoint', None)
    if checkpoint is not None and ':' not in checkpoint and not Path(checkpoint).exists():
        raise InputError(f'no checkpoint file {checkpoint}')
    if getattr(args, 'resume', None) not in (None, 'auto'):
        check_named_file('--resume', args.resume, 'checkpoint file')
    if file is not None:
        config = static_config(str(file), getattr(args, 'cfg_options', None) or ())
        if config is not None:
            check_named_in_config(command, args, config)


def check_new_config(out: Path) -> None:
    """Check that a config file can be created.

    Raises:
        InputError: If it exists, is not a ``.py`` file, or its folder does not exist; or if a run would
            refuse its name.
    """
    if out.exists():
        raise InputError(f'{out} already exists')
    if out.name == 'student.py':
        raise InputError(
            f'--out {out}: a run writes the plain config of the student as student.py, so its own '
            'config needs another name'
        )
    if out.suffix != '.py' or not out.parent.is_dir():
        raise InputError(f'--out is a .py file in a folder that exists, got {out}')


def check_work_dir(key: str, path: str | Path | None) -> None:
    """Check that a work dir is a folder, or can become one.

    Args:
        key: That names it: of the config, or a flag.
        path: Of the folder; None for none.

    Raises:
        InputError: If it is a file.
    """
    if path is not None and Path(path).exists() and not Path(path).is_dir():
        raise InputError(f'{key} {path} is a file; name a folder')


def check_output(command: str, out: Path) -> None:
    """Check that an output can be created."""
    if command == 'cache-teacher':  # Which makes the folder, or goes on in it.
        if out.exists() and not out.is_dir():
            raise InputError(f'{out} is a file; name a folder')
        return
    check_new_path(out)


def check_named_in_config(
    command: str, args: argparse.Namespace, config: Mapping[str, Any]
) -> None:
    """Check the data and the files of a config that a command will read.

    Args:
        command: Its name.
        args: Its arguments.
        config: Its config, or what is known of it.

    Raises:
        InputError: If one does not exist; it names the key.
    """
    root = getattr(args, 'data', None)
    if isinstance(root, str):
        check_data_exists(with_data_root(config, root), ['test'])
    check_data_exists(config, data_that_is_read(command, args))
    if command in ('train', 'test', 'cache-teacher'):
        check_files_exist(config)
    if command in ('train', 'test') and isinstance(config.get('work_dir'), str):
        check_work_dir('work_dir', config['work_dir'])
    if command == 'train':
        check_named_file('load_from', config.get('load_from'), 'checkpoint file')
        check_pretrained_exist(config)


def data_that_is_read(command: str, args: argparse.Namespace) -> list[str]:
    """Return the splits of the config's data that a command reads in every case."""
    if command == 'train':
        return ['train'] if args.no_validate else ['train', 'val']
    if command == 'test' or (command in ('exits', 'early-exit') and args.data is None):
        return ['test']
    if command == 'cache-teacher' or (command == 'anchors' and args.ann_file is None):
        return ['train']
    if command == 'export':
        return ['test'] * (args.data is True) + ['train'] * (
            args.int8 and not isinstance(args.data, str)
        )
    if command == 'detections' and not args.image_files:
        return [args.split]
    return []
