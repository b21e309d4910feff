"""The one check of the arguments of all parts, by the annotations of their ``__init__``."""

import inspect
from collections.abc import Callable, Mapping
from functools import cache, wraps
from types import FunctionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from typing_extensions import Unpack, is_typeddict

from mmmuse.errors import ArgumentError

from .annotation import accepts, described, shown

Part = TypeVar('Part', bound=type)


def with_checked_arguments(part: Part) -> Part:
    """Let a class check the types and ranges of its arguments before its ``__init__`` runs.

    The annotations of ``__init__`` say what is accepted; see :func:`accepts` and
    :mod:`mmmuse.arguments.ranges`. A default value is always accepted. An ``__init__`` that is
    inherited from another package is not checked: its annotations were not written for it.

    Args:
        part: The class; it is changed and returned, so that this is a decorator. The parts of the
            registries of :mod:`mmmuse.registry` are decorated there.

    Raises:
        ArgumentError: When an instance is built with a wrong argument.
    """
    init = getattr(part, '__init__', None)
    own = isinstance(init, FunctionType) and _package(init) == _package(part)
    if not own or hasattr(init, 'checks_arguments'):
        return part

    @wraps(init)
    def checked_init(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            bound = inspect.signature(init).bind_partial(self, *args, **kwargs)
        except TypeError:
            pass  # The call below raises it.
        else:
            check_arguments(type(self).__name__, init, _named(init, bound.arguments))
        init(self, *args, **kwargs)

    checked_init.checks_arguments = True
    part.__init__ = checked_init
    return part


def check_arguments(name: str, init: Callable, arguments: Mapping[str, Any]) -> None:
    """Check named arguments of a function against its annotations.

    Args:
        name: Of the part, for the message.
        init: The function; what it does not annotate is not checked.
        arguments: Values by name, those of ``**kwargs`` included.

    Raises:
        ArgumentError: If one is of another type or out of its range.
    """
    hints, defaults = _known(inspect.unwrap(init))
    for key, value in arguments.items():
        if not (key in defaults and _same(defaults[key], value)):
            check_value(name, key, hints.get(key, Any), value)


def check_keys(name: str, values: Mapping[str, Any], annotations: Mapping[str, Any]) -> None:
    """Check values of a dict that is an argument itself, such as the taps of a network.

    Args:
        name: Of the argument, for the message.
        values: The dict.
        annotations: Of its keys; other keys are not checked.

    Raises:
        ArgumentError: If a value is of another type or out of its range.
    """
    for key, value in values.items():
        check_value(name, key, annotations.get(key, Any), value)


def check_value(name: str, key: str, annotation: Any, value: Any) -> None:
    """Check one value; see :func:`check_keys`."""
    if not accepts(annotation, value):
        raise ArgumentError(name, key, value, f'{described(annotation)}, got {shown(value)}')


@cache
def _known(init: Callable) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the annotations of a function's parameters, and their defaults."""
    parameters = inspect.signature(init).parameters.values()
    try:
        hints = get_type_hints(init, include_extras=True)
    except Exception:  # A user's part may name what is not imported at run time.
        hints = {
            parameter.name: parameter.annotation
            for parameter in parameters
            if not isinstance(parameter.annotation, str)
        }
    hints.pop('return', None)
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            hints.pop(parameter.name, None)
        elif parameter.kind is parameter.VAR_KEYWORD:
            hints.update(_options(hints.pop(parameter.name, None)))
    defaults = {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.default is not parameter.empty
    }
    return hints, defaults


def _options(annotation: Any) -> dict[str, Any]:
    """Return the annotations of ``**options: Unpack[Options]``, with a typed dict ``Options``."""
    if get_origin(annotation) is Unpack and is_typeddict(get_args(annotation)[0]):
        return get_type_hints(get_args(annotation)[0], include_extras=True)
    return {}


def _named(init: Callable, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return bound arguments by name, without ``self`` and ``*args``, with those of ``**kwargs``."""
    named: dict[str, Any] = {}
    for i, parameter in enumerate(inspect.signature(init).parameters.values()):
        if i == 0 or parameter.name not in arguments:
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            named.update(arguments[parameter.name])
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            named[parameter.name] = arguments[parameter.name]
    return named


def _same(default: Any, value: Any) -> bool:
    return value is default or (type(value) is type(default) and repr(value) == repr(default))


def _package(thing: Any) -> str:
    return thing.__module__.partition('.')[0]
