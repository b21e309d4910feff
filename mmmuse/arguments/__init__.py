"""Types and ranges of the arguments of parts, checked in one place."""

from .annotation import accepts, described, shown
from .checked import check_arguments, check_keys, check_value, with_checked_arguments
from .ranges import (
    Fraction,
    ImageShape,
    Length,
    ModuleCount,
    NonNegativeFloat,
    NonNegativeInt,
    Paths,
    PositiveFloat,
    PositiveInt,
    PositiveInts,
    Range,
    Seed,
    WholeNumber,
)

__all__ = [
    'Fraction',
    'ImageShape',
    'Length',
    'ModuleCount',
    'NonNegativeFloat',
    'NonNegativeInt',
    'Paths',
    'PositiveFloat',
    'PositiveInt',
    'PositiveInts',
    'Range',
    'Seed',
    'WholeNumber',
    'accepts',
    'check_arguments',
    'check_keys',
    'check_value',
    'described',
    'shown',
    'with_checked_arguments',
]
