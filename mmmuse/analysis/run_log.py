"""Read the text log of a run: its command, its environment, and how it ended."""

import re
from pathlib import Path
from typing import NamedTuple

from mmmuse.checkpoints.regular_file import check_regular_file

# Prefixes of lines that are logged at each start of a run.
COMMAND = 'command: '
HARDWARE = 'hardware: '
_HEAD, _TAIL = 2**17, 2**15  # Bytes that are read of a long log.
_LINES = 8  # Of the end of a log.
_LONGEST = 2000  # Characters of a line.
# MMEngine adds the place in the code to an error.
_PREFIX = re.compile(r'^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d - \S+ - (\w+) - (?:\S* - \S+ - \d+ - )?')
_SECTION = re.compile(r'^(System|Runtime) environment:\s*$')
_ENTRY = re.compile(r'^ {4}(\S[^:]*): ?(.*)$')
_LONG_ENTRIES = ('PyTorch compiling details',)


class RunLog(NamedTuple):
    """What the text log of one start of a run says.

    Attributes:
        command: That started it; None if it was not logged.
        environment: Versions and settings, by name.
        errors: Lines of level ERROR and CRITICAL in the last part of the log.
        last_lines: Of the log.
        hardware: On which it ran; None if it was not logged.
    """

    command: str | None = None
    environment: dict[str, str] = {}
    errors: tuple[str, ...] = ()
    last_lines: tuple[str, ...] = ()
    hardware: str | None = None


def read_run_log(path: Path) -> RunLog:
    """Read the first and the last part of a log of MMEngine.

    Args:
        path: Of a file ``<start>/<start>.log``.

    Raises:
        InputError: If it is not a file.
    """
    check_regular_file(path, 'log')
    with path.open('rb') as file:
        first = _lines(file.read(_HEAD))
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL))
        last = [line for line in _lines(file.read(_TAIL)) if line.strip()]
    errors = [text for level, text in map(_level_and_text, last) if level in ('ERROR', 'CRITICAL')]
    return RunLog(
        _noted(first, COMMAND),
        _environment(first),
        tuple(errors[-_LINES:]),
        tuple(last[-_LINES:]),
        _noted(first, HARDWARE),
    )


def _noted(lines: list[str], prefix: str) -> str | None:
    """Return the text after a prefix, without it."""
    texts = (text for _, text in map(_level_and_text, lines) if text.startswith(prefix))
    return next(texts, prefix).removeprefix(prefix) or None


def _lines(content: bytes) -> list[str]:
    return [line[:_LONGEST] for line in content.decode('utf-8', 'replace').splitlines()]


def _level_and_text(line: str) -> tuple[str | None, str]:
    match = _PREFIX.match(line)
    return (match[1], line[match.end() :]) if match else (None, line)


def _environment(lines: list[str]) -> dict[str, str]:
    """Return the entries of MMEngine's two lists of the environment, without the compiler's flags."""
    found, inside = {}, False
    for line in lines:
        if _SECTION.match(line):
            inside = True
        elif line.startswith('---'):
            inside = False
        elif inside and (match := _ENTRY.match(line)) and match[1] not in _LONG_ENTRIES:
            found.setdefault(match[1], match[2])
    return found
