"""Values of ``--cfg-options`` as text."""

import argparse
import ast
from collections.abc import Sequence
from typing import Any

from mmengine.config import DictAction

from mmmuse.errors import InputError

_QUOTES = ("'", '"')
_BRACKETS = {'[': list, '(': tuple}


def parsed_options(options: Sequence[str]) -> dict[str, Any]:
    """Return ``KEY=VALUE`` as MMEngine's ``DictAction`` reads them, which splits at commas and removes spaces.

    Two things differ. A value in quotes is the text between them; in a list or tuple, texts in quotes are Python's. Spaces
    within a text are kept. Of a repeated key the last value counts.

    Raises:
        InputError: If brackets do not match, or a value is a dict or a list of dicts.

    Example:
        >>> parsed_options(['a=[1,b]', "b='1,2'", 'c=my data', "d=['1',2]"])
        {'a': [1, 'b'], 'b': '1,2', 'c': 'my data', 'd': ['1', 2]}
    """
    return {option.partition('=')[0]: _value(option) for option in options}


def _value(option: str) -> Any:
    key, _, text = option.partition('=')
    text = text.strip()
    _refuse_dict(key, text)
    first = text[:1]
    if first in _QUOTES and len(text) > 1 and text.count(first) == 2 and text.endswith(first):
        return text[1:-1]
    if first in _BRACKETS and any(quote in text for quote in _QUOTES):
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            value = None
        if type(value) is _BRACKETS[first] and _is_plain(value):
            return value
    read = _read_by_mmengine(option)
    return text if isinstance(read, str) and first not in _QUOTES else read


def _refuse_dict(key: str, text: str) -> None:
    try:
        value = ast.parse(text, mode='eval').body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    if _is_dict(value):
        raise InputError(
            f'--cfg-options {key}: a dict is not read; give each key of it, e.g. {key}.type=NAME, and '
            f'{key}._delete_=True to remove those that the config has'
        )
    if isinstance(value, (ast.List, ast.Tuple)) and any(map(_is_dict, ast.walk(value))):
        raise InputError(
            f'--cfg-options {key}: a list of dicts is not read; write it into a config file'
        )


def _is_dict(value: ast.AST) -> bool:
    is_call = isinstance(value, ast.Call) and getattr(value.func, 'id', None) == 'dict'
    return isinstance(value, ast.Dict) or (is_call and bool(value.keywords))


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, (str, int, float, bool, type(None)))


def _read_by_mmengine(option: str) -> Any:
    namespace = argparse.Namespace(cfg_options=None)
    action = DictAction(['--cfg-options'], 'cfg_options', nargs='+')
    try:
        action(argparse.ArgumentParser(), namespace, [option], '--cfg-options')
    except (AssertionError, ValueError) as error:  # Brackets or quotes that do not match.
        raise InputError(f'--cfg-options {option}: {error}') from error
    except RecursionError as error:
        raise InputError(f'--cfg-options {option}: brackets do not match') from error
    (value,) = namespace.cfg_options.values()
    return value


def written_value(value: Any) -> str:
    """Return a text that :func:`parsed_options` reads as a value.

    Raises:
        InputError: If there is none: it is not a number, a text, a boolean, None, or a list or tuple of these.
    """
    texts = [_without_quotes(value), repr(value)]
    if isinstance(value, str):
        texts[1:] = [f'{quote}{value}{quote}' for quote in _QUOTES]
    for text in texts:
        try:
            if repr(_value(f'key={text}')) == repr(value):
                return text
        except InputError:
            continue
    raise InputError(
        f'not a value for --cfg-options, which takes numbers, texts and lists, not dicts: {value!r}'
    )


def _without_quotes(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        inside = ','.join(map(_without_quotes, value))
        return f'[{inside}]' if isinstance(value, list) else f'({inside})'
    return str(value)
