"""Teachers of other libraries: what a distiller gives them, and what it taps by default."""

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from mmengine.model import BaseModel

from mmmuse.checkpoints.network_config import network_config
from mmmuse.checkpoints.network_names import LIBRARIES, is_network_name
from mmmuse.errors import InputError
from mmmuse.registry import MODELS
from mmmuse.teachers import LibraryNetwork


def is_library(teacher: Any) -> bool:
    """Return whether a teacher is a network of another library: built, by its name or that name's config."""
    is_config = isinstance(teacher, Mapping) and teacher.get('type') in LIBRARIES.values()
    return isinstance(teacher, LibraryNetwork) or is_config or is_network_name(teacher)


def build_library_network(
    teacher: Mapping | str,
    checkpoint: str | None = None,
    trust: bool = False,
    input_size: int | None = None,
) -> BaseModel:
    """Build a network of another library from its name; see :class:`mmmuse.teachers.LibraryNetwork`.

    Args:
        teacher: Its name, ``dict(name=...)``, or its config.
        checkpoint: Local file of its weights, in place of those that the name stands for.
        trust: Read a checkpoint that holds more than weights.
        input_size: Height and width of its input.

    Raises:
        InputError: If it cannot be built, or the checkpoint is given twice.
    """
    config = network_config(teacher)
    known = set(inspect.signature(MODELS.get(config['type']).__init__).parameters) - {'self'}
    for key in sorted(set(config) - known - {'type', '_scope_'}):
        nearest = difflib.get_close_matches(key, known, n=1)
        hint = f'did you mean {nearest[0]!r}?' if nearest else f'available: {", ".join(known)}'
        raise InputError(f'the teacher has the unknown key {key!r}; {hint}')
    given = dict(checkpoint=checkpoint, input_size=input_size, trust=trust or None)
    for key, value in given.items():
        if value is None:
            continue
        if config.get(key) not in (None, value):
            option = 'trust_teacher' if key == 'trust' else f'teacher_{key}'
            raise InputError(
                f'{option} is {value} and teacher.{key} {config[key]}: give one of them'
            )
        config[key] = value
    return MODELS.build(config)


def library_taps(network: LibraryNetwork, taps: dict | str | None) -> tuple[dict | str, str | None]:
    """Return the taps of a network of another library, and why it has no logits, if it has none.

    Raises:
        InputError: If logits are tapped that it does not have.
    """
    if network.num_classes is not None:
        return (network.default_taps if taps is None else taps), None
    missing = f'{network.name} has no classifier'
    if isinstance(taps, Mapping) and taps.get('logits') == 'logits':
        raise InputError(f'teacher_taps.logits: {missing}; leave logits out')
    return (network.default_taps if taps is None else taps), missing
