"""Flags that several commands share."""

import argparse
from typing import Any


class ConfigOptions(argparse.Action):
    """Collects ``KEY=VALUE``; :func:`mmmuse.command_line.option_values.parsed_options` makes a dict of them."""

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
