"""The command ``mmmuse``, and the scripts in ``tools/``, which are the same functions.

Each command has two modules of its name. ``parsers.NAME`` has its flags and imports no library, so
that ``--help`` is immediate. ``commands.NAME`` has ``main(args)`` and is imported after the
arguments have been parsed and checked (``start`` and ``early_checks``).
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from mmmuse.version import __version__

from .utf8 import run_in_utf8

COMMANDS = (
    *('train', 'test', 'wrap', 'export', 'exits', 'early-exit', 'complexity', 'information'),
    *('detections', 'anchors', 'cache-teacher', 'convert-teacher', 'table', 'demo', 'report'),
    *('check', 'completion'),
)
_WITHOUT_LIBRARIES = ('check', 'completion')
_CLOSED_PIPE = 141  # 128 and the number of SIGPIPE, as the shell reports it.


def main(command: str | None = None, arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments and run a command.

    Args:
        command: Its name, if the program is this one command, as the scripts in ``tools/`` are.
            By default it is the first argument.
        arguments: By default those of the process.
    """
    if arguments is None:
        run_in_utf8()
    try:
        try:
            args, command = _parsed(command, sys.argv[1:] if arguments is None else arguments)
            # Imported here, since --help does not need it.
            import_module(f'{__name__}.start').start(
                command, f'{__name__}.{_module(command)}', args, command not in _WITHOUT_LIBRARIES
            )
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # The reader of a pipe, such as head, has what it wanted.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_CLOSED_PIPE)


def _parsed(command: str | None, arguments: Sequence[str]) -> tuple[argparse.Namespace, str]:
    """Return the parsed arguments and the name of the command."""
    prog = None
    if command is None:
        if not arguments:
            mmmuse_parser().print_help(sys.stderr)
            sys.exit(2)
        if arguments[0] not in COMMANDS:
            mmmuse_parser().parse_args(arguments)  # Ends with a message.
        command, *arguments = arguments
        prog = f'mmmuse {command}'
    parser = _CommandParser(prog=prog)
    _describe(command, parser)
    return parser.parse_args(arguments), command


def mmmuse_parser() -> argparse.ArgumentParser:
    """Return the parser of the command ``mmmuse``, with a subparser for each command.

    For its help, completion and unknown commands; :func:`main` builds that of one command.
    """
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
            import difflib

            nearest = difflib.get_close_matches(value, COMMANDS, n=1, cutoff=0.5)
            hint = (
                f'did you mean {nearest[0]!r}?' if nearest else f'available: {", ".join(COMMANDS)}'
            )
            print(f'error: unknown command {value!r}; {hint}', file=sys.stderr)
            sys.exit(2)
        super()._check_value(action, value)


class _CommandParser(argparse.ArgumentParser):
    """Names the nearest flag for one that is unknown."""

    def parse_args(self, *args, **kwargs) -> argparse.Namespace:
        parsed, unknown = self.parse_known_args(*args, **kwargs)
        if unknown:
            self.error(f'unrecognized arguments: {" ".join(unknown)}{self._nearest(unknown)}')
        return parsed

    def _nearest(self, unknown: Sequence[str]) -> str:
        from mmmuse.command_line.near_words import mistyped_word

        flags = [each.partition('=')[0] for each in unknown if each.startswith('--')]
        known = self._option_string_actions.keys() - {'-h', '--help'}
        near = [mistyped_word(flag, known) for flag in flags]
        found = ', '.join(dict.fromkeys(repr(flag) for flag in near if flag is not None))
        return f'; did you mean {found}?' if found else ''


def _describe(command: str, parser: argparse.ArgumentParser) -> None:
    """Give a parser the description and the flags of a command."""
    parser.description = _summary(command)
    _parser_module(command).add_arguments(parser)
    parser.add_argument(
        '-v', '--verbose', action='store_true', help='print all messages of the libraries'
    )


def _summary(command: str) -> str:
    return _parser_module(command).__doc__.splitlines()[0]


def _parser_module(command: str):
    return import_module(f'{__name__}.parsers.{_module(command)}')


def _module(command: str) -> str:
    return command.replace('-', '_')
