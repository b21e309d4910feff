"""Ranges of arguments, for the annotations of parts: ``loss_weight: NonNegativeFloat = 1.0``."""

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True)
class Range:
    """Limits of a number; None for no limit.

    Args:
        least: The smallest number that is accepted.
        above: Numbers above this one are accepted.
        most: The largest number that is accepted.
    """

    least: float | None = None
    above: float | None = None
    most: float | None = None

    def holds(self, value: Any) -> bool:
        """Return whether a number is in the range."""
        return (
            (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
        )

    def __str__(self) -> str:
        if self.least is not None:
            return (
                f'from {self.least} to {self.most}' if self._closed else f'of at least {self.least}'
            )
        limits = [f'above {self.above}'] if self.above is not None else []
        return ' and '.join([*limits, *([] if self.most is None else [f'at most {self.most}'])])

    @property
    def _closed(self) -> bool:
        return self.most is not None


@dataclass(frozen=True)
class Whole:
    """Limit of a float that has no fraction, such as a quotient of two numbers of iterations."""

    def holds(self, value: float) -> bool:
        """Return whether a number is a positive integer."""
        return value >= 1 and float(value).is_integer()

    def __str__(self) -> str:
        return 'without a fraction'


@dataclass(frozen=True)
class Length:
    """Number of items of a list.

    Args:
        least: The smallest number that is accepted.
        most: The largest number; None for any.
    """

    least: int
    most: int | None = None

    def holds(self, value: Sized) -> bool:
        """Return whether a list has that many items."""
        return self.least <= len(value) and (self.most is None or len(value) <= self.most)

    def __str__(self) -> str:
        if self.least == self.most:
            return f'with {self.least} items'
        least = f'with at least {self.least} item{"s" if self.least > 1 else ""}'
        return least if self.most is None else f'with {self.least} to {self.most} items'


WholeNumber = Annotated[float, Whole()]
PositiveInt = Annotated[int, Range(least=1)]
NonNegativeInt = Annotated[int, Range(least=0)]
# Numbers of modules that are built one after the other: a typing error must not build for hours.
ModuleCount = Annotated[int, Range(least=1, most=1000)]
PositiveFloat = Annotated[float, Range(above=0)]
NonNegativeFloat = Annotated[float, Range(least=0)]
Fraction = Annotated[float, Range(least=0, most=1)]
Seed = Annotated[int, Range(least=0, most=2**32 - 1)]
PositiveInts = Annotated[Sequence[PositiveInt], Length(1)]
Paths = Annotated[Sequence[str], Length(1)]
ImageShape = Annotated[Sequence[PositiveInt], Length(3, 3)]
