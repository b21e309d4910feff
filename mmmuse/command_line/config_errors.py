"""One line for what MMEngine's registry says about a config: the place in it, and the nearest known name."""

import inspect
import re
import traceback
from types import FrameType
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry

from .near_words import did_you_mean

_UNKNOWN_ARGUMENT = re.compile(
    r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'"
)
_MISSING_ARGUMENT = re.compile(
    r'(\w+)(?:\.__init__)?\(\) missing \d+ required (?:\S+ )?arguments?: (.*)'
)
_NO_SUCH_TYPE = re.compile(r'Failed to get (.*)')
_NO_TYPE = re.compile(r'must contain the key "type", but got (\{.*\})')
_UNKNOWN_TYPE = re.compile(r'[\'"]?((\S+) is not in the \S+(?: \w+)* registry)')
_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
# Arguments that a config does not give.
_OF_THE_LIBRARY = {'self', 'params', 'optimizer', 'runner', 'dataloader'}


def config_explanation(error: BaseException, message: str) -> str | None:
    """Return one line for an error of MMEngine's registry, or of the call of a part's class; None for any other.

    Args:
        error: With its traceback.
        message: Its text in one line.
    """
    frame = _building_frame(error)
    if frame is None:
        return None
    if isinstance(error, TypeError) and (match := _UNKNOWN_ARGUMENT.search(message)):
        return _unknown_argument(error, frame, *match.groups())
    if isinstance(error, TypeError) and (match := _MISSING_ARGUMENT.search(message)):
        return _missing_argument(error, frame, *match.groups())
    if isinstance(error, KeyError) and (match := _UNKNOWN_TYPE.search(message)):
        return _unknown_type(error, frame, match[2], match[1])
    if isinstance(error, RuntimeError) and (match := _NO_SUCH_TYPE.fullmatch(message)):
        return _unknown_type(error, frame, match[1], f'there is no part of type {match[1]!r}')
    if isinstance(error, KeyError) and (match := _NO_TYPE.search(message)):
        return f'config: a part has no type: {match[1]}'
    return None


def config_of_run(error: BaseException) -> Config | None:
    """Return the config that a command was reading when an error was raised, or None."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for value in frame.f_locals.values():
            if isinstance(value, Config):
                return value
    return None


def _building_frame(error: BaseException) -> FrameType | None:
    """Return the innermost frame in which a part is built, or None."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for frame in reversed(frames):
        if _is_registrys(frame) or frame.f_code.co_name.startswith('build'):
            return frame
    return None


def _is_registrys(frame: FrameType) -> bool:
    return frame.f_code.co_filename.endswith('build_functions.py')


def _unknown_argument(error: BaseException, frame: FrameType, name: str, key: str) -> str:
    part = _part(frame, name)
    known = [] if part is None else _arguments(part)
    path = _path(error, frame, name, key)
    hint = did_you_mean(key, known)
    if path and known and not hint:
        hint = f'; it reads {", ".join(name for name in known if name not in _OF_THE_LIBRARY)}'
    return f'config: {_before(path)}{name} does not read the key {key!r}{hint}'


def _missing_argument(error: BaseException, frame: FrameType, name: str, missing: str) -> str:
    return f'config: {_before(_path(error, frame, name))}{name} needs {missing}'


def _unknown_type(error: BaseException, frame: FrameType, kind: str, text: str) -> str:
    from .near_types import nearest_type

    registry = frame.f_locals.get('registry')
    nearest = nearest_type(registry, kind) if isinstance(registry, Registry) else ''
    path = _path(error, frame, kind)
    return f'config: {_before(path and f"{path}.type")}{text}{nearest}'


def _part(frame: FrameType, name: str) -> Any:
    """Return the class of this name that a frame was calling, or one that inherits from it; None if it is not known."""
    part = frame.f_locals.get('obj_cls') if _is_registrys(frame) else frame.f_globals.get(name)
    return part if name in _names(part) else None


def _names(part: Any) -> list[str]:
    """Return the names of a class and of those that it inherits from, or of a function."""
    return [getattr(each, '__name__', '') for each in getattr(part, '__mro__', (part,))]


def _arguments(part: Any) -> list[str]:
    """Return the names of a part's arguments, with those that it passes on to the classes that it inherits from."""
    inits = [vars(each).get('__init__') for each in getattr(part, '__mro__', ())] or [part]
    known: list[str] = []
    for init in filter(inspect.isfunction, inits):
        parameters = inspect.signature(init).parameters.values()
        known += [each.name for each in parameters if each.kind not in _VARIABLE]
        if not any(each.kind is each.VAR_KEYWORD for each in parameters):
            break
    return list(dict.fromkeys(known))


def _path(error: BaseException, frame: FrameType, name: str, key: str | None = None) -> str | None:
    """Return where the config has a part of a class, with a key; None if that is not known."""
    from .parts import path_of

    config = config_of_run(error)
    if config is None:
        return None
    part = _part(frame, name)
    return path_of(config._cfg_dict, [name] if part is None else _names(part), key)


def _before(path: str | None) -> str:
    return f'{path}: ' if path else ''
