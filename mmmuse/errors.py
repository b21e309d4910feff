"""User-facing errors; the command-line tools print them in one line."""

from typing import Any

TRACEBACK_VARIABLE = 'MMMUSE_TRACEBACK'  # Of the environment: prints the traceback as well.


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text; the name of its class if the text is empty."""
    lines = str(error).strip().splitlines()
    return ' '.join(lines[0].split()) if lines else type(error).__name__


class MMMuseError(Exception):
    """Base of the errors that are printed without a traceback."""


class InputError(MMMuseError, ValueError):
    """A config, a file or a tensor is not valid."""


class ImageShapeError(InputError):
    """The shape of a network's images is not known, or the network does not take it."""


class ArgumentError(InputError):
    """An argument of a part is of another type or out of its range.

    Args:
        part: Name of the part's class, or of the dict that has the key.
        key: Name of the argument.
        value: What was given.
        fault: What is accepted and what was given.
    """

    def __init__(self, part: str, key: str, value: Any, fault: str) -> None:
        super().__init__(f'{part}: {key} is {fault}')
        self.part = part
        self.key = key
        self.value = value
        self.fault = fault

    def __reduce__(self) -> tuple:
        return type(self), (self.part, self.key, self.value, self.fault)


class NonFiniteLossError(MMMuseError, ArithmeticError):
    """A loss term became NaN or infinite during training."""


class Stopped(KeyboardInterrupt):
    """A signal stopped the command.

    Args:
        number: Of the signal.
        finished: Whether the step or the evaluation in which it arrived was finished.
    """

    def __init__(self, number: int, finished: bool = False) -> None:
        super().__init__(f'stopped by signal {number}')
        self.number = number
        self.finished = finished
