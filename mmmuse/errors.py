"""User-facing errors; the command-line tools print them in one line."""


class MMMuseError(Exception):
    """Base of the errors that are printed without a traceback."""


class InputError(MMMuseError, ValueError):
    """A config, a file or a tensor is not valid."""


class NonFiniteLossError(MMMuseError, ArithmeticError):
    """A loss term became NaN or infinite during training."""


class Stopped(KeyboardInterrupt):
    """A signal stopped the command.

    Args:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f'stopped by signal {number}')
        self.number = number
