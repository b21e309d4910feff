"""Files and folders that a command's flags name, looked for before the libraries are imported."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmmuse.checkpoints.files_in_folder import files_in_folder
from mmmuse.checkpoints.network_names import is_network_name
from mmmuse.checkpoints.packaged_config import packaged_file
from mmmuse.checkpoints.regular_file import check_regular_file
from mmmuse.command_line.data_paths import IMAGE_ENDINGS, check_named_file
from mmmuse.command_line.report import check_new_path
from mmmuse.errors import InputError


def config_file(name: str, what: str = 'config file') -> Path:
    """Return the file of a config, in a folder or in an installed package.

    Raises:
        InputError: If it does not exist.
    """
    if '::' in name:
        return packaged_file(name)
    if not Path(name).is_file():
        raise InputError(f'no {what} {name}')
    return Path(name)


def check_named_paths(command: str, args: argparse.Namespace) -> None:
    """Check the files and folders that only some commands read or create.

    Args:
        command: Its name.
        args: Its arguments.

    Raises:
        InputError: If one does not exist, or an output cannot be written.
    """
    check = _CHECKS.get(command)
    if check is not None:
        check(args)


def with_data_root(config: Mapping[str, Any], root: str) -> dict[str, Any]:
    """Return a config whose test data is in another folder, as ``--data ROOT`` has it."""

    def moved(dataset: Any) -> Any:
        if not isinstance(dataset, Mapping):
            return dataset
        if 'dataset' in dataset:
            return {**dataset, 'dataset': moved(dataset['dataset'])}
        return {**dataset, 'data_root': root}

    loader = config.get('test_dataloader')
    if not isinstance(loader, Mapping):
        return dict(config)
    loader = {**loader, 'dataset': moved(loader.get('dataset'))}
    return {**config, 'test_dataloader': loader}


def _check_table(args: argparse.Namespace) -> None:
    config_file(args.table, 'table')


def _check_report(args: argparse.Namespace) -> None:
    for folder in filter(None, (args.work_dir, args.baseline_dir)):
        if not folder.is_dir():
            raise InputError(f'no work dir {folder}')
    if args.out is not None:
        check_new_path(args.out)
    if args.early_exit is not None and not args.early_exit.is_dir():
        raise InputError(f'no table of early exit {args.early_exit}: no such folder')
    if args.detections is not None and not args.detections.is_dir():
        raise InputError(f'no folder {args.detections} of mmmuse detections')


def _check_information(args: argparse.Namespace) -> None:
    for folder in args.work_dirs:
        if not any(folder.glob('*/vis_data/scalars.json')):
            raise InputError(f'{folder} holds no log of a run (*/vis_data/scalars.json)')
    for file in filter(None, (args.out, args.csv)):
        if not file.parent.is_dir():
            raise InputError(f'no folder {file.parent} to write into')
        if file.is_dir():
            raise InputError(f'{file} is a folder; name a file')
    if args.out is not None:
        check_new_path(args.out)


def _check_test(args: argparse.Namespace) -> None:
    if args.out is not None and Path(args.out).exists():  # A missing folder is made.
        raise InputError(f'{args.out} already exists')


def _check_convert_teacher(args: argparse.Namespace) -> None:
    check_new_path(args.out)
    if ':' not in args.source:
        check_regular_file(args.source, 'checkpoint file')


def _check_anchors(args: argparse.Namespace) -> None:
    check_named_file('--ann-file', args.ann_file, 'annotation file')


def _check_detections(args: argparse.Namespace) -> None:
    for file in args.image_files or ():
        check_named_file('--image-files', file, 'image')


def _check_wrap(args: argparse.Namespace) -> None:
    teacher, checkpoint, unlabelled = args.teacher, args.teacher_checkpoint, args.unlabelled
    if teacher is None:
        if checkpoint is not None:
            raise InputError('--teacher-checkpoint is the file of a --teacher, which is not given')
        if unlabelled is not None:
            raise InputError('--unlabelled needs --teacher, the network whose features are learned')
        return
    if args.variant is not None:
        raise InputError('--variant is for self-distillation: give it or --teacher, not both')
    if not is_network_name(teacher):
        config_file(teacher, "teacher's config file")
        if checkpoint is None:
            raise InputError(
                f'--teacher {teacher} is a config: give its weights by --teacher-checkpoint'
            )
    check_named_file('--teacher-checkpoint', checkpoint, 'checkpoint file')
    if unlabelled is not None:
        _check_images(unlabelled)


def _check_images(folder: str) -> None:
    if not Path(folder).expanduser().is_dir():
        raise InputError(f'--unlabelled: no folder {folder}')
    if not any(file.lower().endswith(IMAGE_ENDINGS) for file in files_in_folder(folder)):
        raise InputError(f'--unlabelled: no images ({", ".join(IMAGE_ENDINGS)}) in {folder}')


_CHECKS = {
    'anchors': _check_anchors,
    'convert-teacher': _check_convert_teacher,
    'detections': _check_detections,
    'information': _check_information,
    'report': _check_report,
    'table': _check_table,
    'test': _check_test,
    'wrap': _check_wrap,
}
