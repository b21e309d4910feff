"""Errors that a user's input or data cause; the commands print them in one line."""


class MMMuseError(Exception):
    """Base of the errors that are explained rather than traced."""


class InputError(MMMuseError, ValueError):
    """A config, a file or a tensor that mmmuse was given cannot be used."""


class NonFiniteLossError(MMMuseError, ArithmeticError):
    """A loss term became NaN or infinite during training."""
