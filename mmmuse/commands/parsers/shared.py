"""Flags that several commands share."""

import argparse
from typing import Any

from mmmuse.errors import InputError


class ConfigOptions(argparse.Action):
    """Collects ``KEY=VALUE``; :func:`parsed_options` makes a dict of them, which needs MMEngine."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        for value in values:
            if not value.partition('=')[0] or '=' not in value:
                parser.error(f'argument {option_string}: expected KEY=VALUE, got {value!r}')
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or []), *values])


def parsed_options(options: list[str]) -> dict[str, Any]:
    """Return ``KEY=VALUE`` as MMEngine's ``DictAction`` reads them.

    Raises:
        InputError: If brackets do not match.
    """
    from mmengine.config import DictAction

    namespace = argparse.Namespace(cfg_options=None)
    action = DictAction(['--cfg-options'], 'cfg_options', nargs='+')
    try:
        action(argparse.ArgumentParser(), namespace, options, '--cfg-options')
    except (AssertionError, ValueError) as error:  # Brackets or quotes that do not match.
        raise InputError(f'--cfg-options {" ".join(options)}: {error}') from error
    return namespace.cfg_options


def add_config_options(parser: argparse.ArgumentParser, example: str) -> None:
    """Add ``--cfg-options``, which overrides config keys."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        default={},
        metavar='KEY=VALUE',
        help=f'override config keys, e.g. {example}',
    )


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that ``train`` and ``test`` share with mmpretrain's tools."""
    parser.add_argument('--work-dir', help='folder for logs and checkpoints')
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument('--no-pin-memory', action='store_true', help='do not pin batches')
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='load a checkpoint that holds more than weights; it may run code',
    )
    add_config_options(parser, 'train_cfg.max_epochs=3')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def add_exit_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that the commands for exits share."""
    parser.add_argument(
        '--input-shape',
        type=int,
        nargs=3,
        metavar=('C', 'H', 'W'),
        help='shape of an image; read from the config by default',
    )
    add_config_options(parser, 'test_dataloader.dataset.indices=1000')
