"""The student's weights in a distiller's state dict, and the rest."""

import re
from collections import OrderedDict

from mmmuse.errors import InputError

_STUDENT = 'student.'
REST = 'distiller'  # The key of a checkpoint that holds all but the student.

# Names that parameters of a distiller had before, and have now. None holds "head" or "neck":
# the custom_keys of a user's paramwise_cfg are parts of names, and mean those of the network.
_RENAMED = (
    (re.compile(r'^head\.'), 'muse.'),
    (re.compile(r'^neck\.'), 'adapters.'),
    (re.compile(r'^adapters\.bottlenecks\.'), 'adapters.branches.'),
    (re.compile(r'^(exits\.\d+\.neck\.bottlenecks\.\d+)\.bottlenecks\.'), r'\1.branches.'),
)


def with_current_names(weights: dict, prefix: str = '') -> dict:
    """Rename in place, and return, what an earlier version saved of a distiller.

    Args:
        weights: A distiller's state dict, or its part beside the student.
        prefix: Of the distiller's names in it.
    """
    for name in [name for name in weights if name.startswith(prefix)]:
        own = name.removeprefix(prefix)
        for pattern, replacement in _RENAMED:
            own = pattern.sub(replacement, own)
        if prefix + own != name:
            weights[prefix + own] = weights.pop(name)
    return weights


def with_plain_names(weights: dict, prefix: str = _STUDENT) -> OrderedDict:
    """Return a network's part of a state dict, module versions included, under plain names.

    Args:
        weights: A distiller's state dict.
        prefix: Of the network's names in it; the student's by default.
    """
    plain = OrderedDict(
        (name.removeprefix(prefix), value)
        for name, value in weights.items()
        if name.startswith(prefix)
    )
    plain._metadata = OrderedDict(
        (f'{name}.'.removeprefix(prefix).removesuffix('.'), version)
        for name, version in getattr(weights, '_metadata', {}).items()
        if f'{name}.'.startswith(prefix)
    )
    return plain


def with_distiller_names(weights: dict) -> OrderedDict:
    """Return plain weights, as a distiller or MMEngine saved them, under the distiller's names.

    Weights that have these names already are returned as they are.
    """
    if any(_STUDENT in name for name in weights):
        return weights
    prefixed = OrderedDict(
        (_STUDENT + name.removeprefix('module.'), value) for name, value in weights.items()
    )
    prefixed._metadata = OrderedDict(
        (f'{_STUDENT}{name}'.removesuffix('.'), version)
        for name, version in getattr(weights, '_metadata', {}).items()
    )
    return prefixed


def halves(weights: dict) -> tuple[dict, dict]:
    """Return the student's part of a distiller's weights, and the rest, under their full names."""
    student = {name: value for name, value in weights.items() if name.startswith(_STUDENT)}
    return student, {name: value for name, value in weights.items() if name not in student}


def check_same(part: str, model: dict, file: dict) -> None:
    """Compare names and shapes of a model's weights with those of a checkpoint.

    Raises:
        InputError: If they differ; the tensors are named.
    """
    own, found = (
        {name: tuple(value.shape) for name, value in weights.items()} for weights in (model, file)
    )
    differ = [
        f'{name.removeprefix(_STUDENT)} ({own.get(name, "missing")} in the model, '
        f'{found.get(name, "missing")} in the file)'
        for name in own.keys() | found.keys()
        if own.get(name) != found.get(name)
    ]
    if differ:
        more = f' and {len(differ) - 3} more' if len(differ) > 3 else ''
        raise InputError(
            f'the checkpoint is of another {part}; these tensors differ: '
            f'{"; ".join(sorted(differ)[:3])}{more}'
        )
