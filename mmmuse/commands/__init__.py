"""The command ``mmmuse``, and the scripts in ``tools/``, which are the same functions.

Each command has two modules of its name. ``parsers.NAME`` has its flags and imports no library, so
that ``--help`` is immediate. ``commands.NAME`` has ``main(args)`` and is imported after the
arguments have been parsed.
"""

import argparse
import difflib
import sys
from collections.abc import Sequence
from importlib import import_module

from mmmuse.version import __version__

COMMANDS = (
    *('train', 'test', 'wrap', 'export', 'exits', 'early-exit', 'complexity', 'information'),
    *('detections', 'anchors', 'cache-teacher', 'convert-teacher', 'table', 'demo', 'report'),
)


def main(command: str | None = None, arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments and run a command.

    Args:
        command: Its name, if the program is this one command, as the scripts in ``tools/`` are.
            By default it is the first argument.
        arguments: By default those of the process.
    """
    if command is None:
        args = mmmuse_parser().parse_args(arguments)
        command = args.command
    else:
        parser = argparse.ArgumentParser()
        _describe(command, parser)
        args = parser.parse_args(arguments)
    import_module(f'{__name__}.{_module(command)}').main(args)


def mmmuse_parser() -> argparse.ArgumentParser:
    """Return the parser of the command ``mmmuse``, with a subparser for each command."""
    parser = _Parser(
        prog='mmmuse', description='Self-distillation for OpenMMLab models, and what belongs to it.'
    )
    parser.add_argument('--version', action='version', version=f'mmmuse {__version__}')
    commands = parser.add_subparsers(
        dest='command', metavar='COMMAND', required=True, parser_class=argparse.ArgumentParser
    )
    for name in COMMANDS:
        _describe(name, commands.add_parser(name, help=_summary(name)))
    return parser


class _Parser(argparse.ArgumentParser):
    """Names the nearest command for one that is unknown."""

    def _check_value(self, action: argparse.Action, value: str) -> None:
        if action.dest == 'command' and value not in COMMANDS:
            nearest = difflib.get_close_matches(value, COMMANDS, n=1, cutoff=0.5)
            hint = (
                f'did you mean {nearest[0]!r}?' if nearest else f'available: {", ".join(COMMANDS)}'
            )
            print(f'error: unknown command {value!r}; {hint}', file=sys.stderr)
            sys.exit(2)
        super()._check_value(action, value)


def _describe(command: str, parser: argparse.ArgumentParser) -> None:
    """Give a parser the description and the flags of a command."""
    parser.description = _summary(command)
    _parser_module(command).add_arguments(parser)


def _summary(command: str) -> str:
    return _parser_module(command).__doc__.splitlines()[0]


def _parser_module(command: str):
    return import_module(f'{__name__}.parsers.{_module(command)}')


def _module(command: str) -> str:
    return command.replace('-', '_')
