"""Whether a value is what an annotation says, and the annotation in words."""

import math
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np

_TEXT = 80  # Characters of a value in a message.
_ANY = (Any, object, Parameter.empty)
_NAMES = {
    bool: ('True or False', 'booleans'),
    int: ('an integer', 'integers'),
    float: ('a number', 'numbers'),
    str: ('a string', 'strings'),
    dict: ('a dict', 'dicts'),
    NoneType: ('None', 'None'),
}


def accepts(annotation: Any, value: Any) -> bool:
    """Return whether a value is what an annotation says.

    A bool is neither an int nor a float, an int is a float, and a float is finite. A list stands for
    a tuple of any length, and a NumPy number for a number. What an annotation says beyond the
    types and ranges that are known here is not checked.
    """
    if annotation in _ANY:
        return True
    if annotation in _KINDS:
        return _KINDS[annotation](value)
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        kind, *limits = args
        limits = [limit for limit in limits if hasattr(limit, 'holds')]
        return accepts(kind, value) and all(limit.holds(value) for limit in limits)
    if origin in (Union, UnionType):
        return any(accepts(kind, value) for kind in args)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in args)
    kind = origin or annotation
    if isinstance(kind, type) and issubclass(kind, Mapping):
        of_item = args[1] if args else Any
        return isinstance(value, kind) and all(accepts(of_item, item) for item in value.values())
    if _is_list_type(kind):
        return _is_list(value) and all(accepts(args[0] if args else Any, item) for item in value)
    if kind is type:
        return isinstance(value, type)
    if kind is Callable:
        return callable(value)
    try:
        return isinstance(value, kind)
    except TypeError:  # A type variable, a protocol, ...
        return True


def described(annotation: Any) -> str:
    """Return an annotation in words: ``an integer of at least 1``."""
    return _described(annotation, plural=False)


def shown(value: Any) -> str:
    """Return a value for a message, with its type where that may be the fault."""
    if isinstance(value, (bool, NoneType)):
        return repr(value)
    simple = isinstance(value, (str, int, float, dict, list, tuple))
    if not simple:
        return f'a {type(value).__name__}'
    text = repr(value)
    text = text if len(text) <= _TEXT else f'{text[:_TEXT]}...'
    return f'{text} (str)' if isinstance(value, str) else text


def _described(annotation: Any, plural: bool) -> str:
    if annotation in _NAMES:
        return _NAMES[annotation][plural]
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        kind, *limits = args
        limits = [str(limit) for limit in limits if hasattr(limit, 'holds')]
        return ' '.join([_described(kind, plural), *limits])
    if origin in (Union, UnionType):
        # None first: "None or a number of at least 0".
        kinds = sorted(args, key=lambda kind: kind is not NoneType)
        words = list(dict.fromkeys(_described(kind, plural) for kind in kinds))
        return ' or '.join(filter(None, [', '.join(words[:-1]), words[-1]]))
    if origin is Literal:
        if len(args) == 2:
            return f'{args[0]!r} or {args[1]!r}'
        return f'one of {", ".join(map(str, args))}' if len(args) > 1 else repr(args[0])
    kind = origin or annotation
    if _is_list_type(kind):
        of_items = f' of {_described(args[0], plural=True)}' if args else ''
        return f'{"lists" if plural else "a list"}{of_items}'
    if isinstance(kind, type) and issubclass(kind, Mapping):
        of_items = f' of {_described(args[1], plural=True)}' if args else ''
        return f'{"dicts" if plural else "a dict"}{of_items}'
    name = 'function' if kind is Callable else getattr(kind, '__name__', str(kind))
    if kind is type:
        return 'classes' if plural else 'a class'
    return f'built {name}s' if plural else f'a built {name}'


def _is_list_type(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Sequence) and kind not in (str, bytes)


def _is_list(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 1
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _is_finite(value: Any) -> bool:
    if not isinstance(value, Real) or isinstance(value, (bool, np.bool_)):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:  # An integer that no float can hold.
        return False


_KINDS: dict[Any, Callable[[Any], bool]] = {
    None: lambda value: value is None,
    NoneType: lambda value: value is None,
    bool: lambda value: isinstance(value, (bool, np.bool_)),
    int: lambda value: isinstance(value, Integral) and not isinstance(value, (bool, np.bool_)),
    float: _is_finite,
}
