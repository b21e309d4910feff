"""Values of ``--cfg-options`` as text."""

import argparse
import ast
from collections.abc import Sequence
from typing import Any

from mmengine.config import DictAction

from mmmuse.errors import InputError

_BRACKETS = {'[': list, '(': tuple}


def parsed_options(options: Sequence[str]) -> dict[str, Any]:
    """Return ``KEY=VALUE`` as MMEngine's ``DictAction`` reads them, which splits at commas, and removes quotes and spaces.

    A value in quotes is a text as it stands, also in a list or tuple of Python literals. Spaces within a
    text that is no list are kept, too.

    Raises:
        InputError: If brackets do not match.

    Example:
        >>> parsed_options(['a=[1,b]', "b='1,2'", 'c=my data', "d=['1',2]"])
        {'a': [1, 'b'], 'b': '1,2', 'c': 'my data', 'd': ['1', 2]}
    """
    namespace = argparse.Namespace(cfg_options=None)
    action = DictAction(['--cfg-options'], 'cfg_options', nargs='+')
    try:
        action(argparse.ArgumentParser(), namespace, options, '--cfg-options')
    except (AssertionError, ValueError) as error:  # Brackets or quotes that do not match.
        raise InputError(f'--cfg-options {" ".join(options)}: {error}') from error
    read = namespace.cfg_options
    for option in options:
        key, _, text = option.partition('=')
        read[key] = _literal(text, read[key])
    return read


def _literal(text: str, read: Any) -> Any:
    """Return what a text stands for; by default what MMEngine has read."""
    text = text.strip()
    kind = str if text[:1] in ("'", '"') else _BRACKETS.get(text[:1])
    if kind is not None:
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return read
        return value if type(value) is kind else read
    return text if isinstance(read, str) else read


def written_value(value: Any) -> str:
    """Return a text that :func:`parsed_options` reads as a value.

    Raises:
        InputError: If it is neither a number, a text, a boolean or None, nor a list or tuple of these.
    """
    for text in (_without_quotes(value), repr(value)):
        try:
            read = parsed_options([f'key={text}'])['key']
        except InputError:
            continue
        if repr(read) == repr(value):
            return text
    raise InputError(
        f'not a value for --cfg-options, which takes numbers, texts and lists, not dicts: {value!r}'
    )


def _without_quotes(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        inside = ','.join(map(_without_quotes, value))
        return f'[{inside}]' if isinstance(value, list) else f'({inside})'
    return str(value)
