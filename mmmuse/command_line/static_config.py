"""Read what is literal in a config file, without running it and without a library.

A Python config is a program that imports MMEngine's registries as it is used. This reads only constants,
dicts and lists of them, and names that stand for them, which is enough to know the data folders of most
configs within a second. Whatever else a file has is :data:`UNKNOWN`.
"""

import ast
import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmmuse.checkpoints.regular_file import why_no_file
from mmmuse.compat.shipped_configs import configs_folder


class _Unknown:
    """Stands for a value that is known only when the config is run."""

    def __repr__(self) -> str:
        return 'UNKNOWN'


UNKNOWN = _Unknown()
_LARGEST = 2**20  # Bytes of a file.
_CHANGING = {'append', 'clear', 'extend', 'insert', 'pop', 'remove', 'setdefault', 'update'}
_HARMLESS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Pass)


class NotStaticError(Exception):
    """A config file has to be run to be read."""


def static_config(path: str, options: Sequence[str] = ()) -> dict[str, Any] | None:
    """Return the keys of a config file, with :data:`UNKNOWN` where a value is not literal.

    Args:
        path: A ``.py`` or ``.json`` file.
        options: ``KEY=VALUE`` of the command line.

    Returns:
        The config, or None if it cannot be read without running it.
    """
    try:
        config = _read(Path(path))
        for option in options:
            config = _merged(config, _nested(*option.partition('=')[::2]))
    except (NotStaticError, OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return config


def _read(path: Path) -> dict[str, Any]:
    if why_no_file(path) is not None or path.stat().st_size > _LARGEST:
        raise NotStaticError
    text = path.read_text(encoding='utf-8')
    if path.suffix == '.json':
        content = json.loads(text)
        if not isinstance(content, dict) or '_base_' in content or '{{' in text:
            raise NotStaticError
        return content
    if path.suffix != '.py':
        raise NotStaticError
    body = ast.parse(text).body
    base = _bases(body, path)
    names: dict[str, Any] = {'_base_': base}
    for statement in body:
        _execute(statement, names)
    del names['_base_']
    return _merged(base, names)


def _bases(body: list[ast.stmt], path: Path) -> dict[str, Any]:
    """Return the keys of all bases of a file."""
    merged: dict[str, Any] = {}
    for statement in body:
        if isinstance(statement, ast.Assign) and _is_name(statement.targets[0], '_base_'):
            named = _value(statement.value, {})
            named = [named] if isinstance(named, str) else named
            if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
                raise NotStaticError
            for name in named:
                merged |= _read(_base_file(name, path))
    return merged


def _base_file(name: str, path: Path) -> Path:
    package, separator, inside = name.partition('::')
    if not separator:
        return path.parent / name
    if package == 'mmmuse':
        return configs_folder() / inside
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise NotStaticError
    return Path(spec.origin).parent / '.mim' / 'configs' / inside


def _execute(statement: ast.stmt, names: dict[str, Any]) -> None:
    """Follow an assignment, and ``update`` of a dict, which change the same dicts as in Python.

    Raises:
        NotStaticError: At any other statement that may change a name or a value.
    """
    match statement:
        case ast.Expr(value=ast.Constant()):
            return
        case ast.Expr(
            value=ast.Call(func=ast.Attribute(value=owner, attr='update'), args=[], keywords=new)
        ):
            changed, added = _value(owner, names), _keywords(new, names)
            if not isinstance(changed, dict) or not isinstance(added, dict):
                raise NotStaticError
            changed.update(added)
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                _assign(target, _value(value, names), names)
        case _ if not isinstance(statement, _HARMLESS):
            raise NotStaticError


def _assign(target: ast.expr, value: Any, names: dict[str, Any]) -> None:
    match target:
        case ast.Name(id='_base_'):
            return
        case ast.Name(id=name) | ast.Starred(value=ast.Name(id=name)):
            names[name] = value
        case ast.Tuple(elts=items) | ast.List(elts=items):
            for item in items:
                _assign(item, UNKNOWN, names)
        case ast.Subscript(value=owner, slice=place):
            _change(_value(owner, names), _value(place, names), value)
        case ast.Attribute(value=owner, attr=key):
            _change(_value(owner, names), key, value)
        case _:
            raise NotStaticError


def _change(owner: Any, key: Any, value: Any) -> None:
    """Set an item of a dict or a list, which other names may refer to as well."""
    new_key = isinstance(owner, dict) and isinstance(key, str)
    if not new_key and _item(owner, key) is UNKNOWN:
        raise NotStaticError
    owner[key] = value


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """Return the value of an expression, UNKNOWN if it is not made of constants."""
    match node:
        case ast.Constant(value=str(text)):
            return UNKNOWN if '{{' in text else text
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return names.get(name, UNKNOWN)
        case ast.Attribute(value=owner, attr=key):
            return _item(_value(owner, names), key)
        case ast.Subscript(value=owner, slice=key):
            return _item(_value(owner, names), _value(key, names))
        case ast.List(elts=items) | ast.Tuple(elts=items):
            if any(isinstance(item, ast.Starred) for item in items):
                return UNKNOWN
            return [_value(item, names) for item in items]
        case ast.Dict(keys=keys, values=values):
            pairs = [
                (_value(k, names) if k else None, _value(v, names))
                for k, v in zip(keys, values, strict=True)
            ]
            return _dict(pairs)
        case ast.Call(func=ast.Name(id='dict'), args=[], keywords=keywords):
            return _keywords(keywords, names)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            parts = (_value(left, names), _value(right, names))
            same = all(isinstance(part, str) for part in parts)
            return parts[0] + parts[1] if same else UNKNOWN
        case ast.Call(func=ast.Attribute(attr=method)) if method in _CHANGING:
            raise NotStaticError
        case ast.JoinedStr(values=parts):
            texts = [_text(part, names) for part in parts]
            return UNKNOWN if UNKNOWN in texts else ''.join(texts)
    return UNKNOWN


def _text(part: ast.expr, names: Mapping[str, Any]) -> Any:
    plain = isinstance(part, ast.FormattedValue) and part.format_spec is None
    value = _value(part.value if plain else part, names)
    return value if isinstance(value, str) else UNKNOWN


def _item(owner: Any, key: Any) -> Any:
    if isinstance(owner, dict) and isinstance(key, str):
        return owner.get(key, UNKNOWN)
    if isinstance(owner, list) and type(key) is int and -len(owner) <= key < len(owner):
        return owner[key]
    return UNKNOWN


def _keywords(keywords: list[ast.keyword], names: Mapping[str, Any]) -> Any:
    return _dict([(keyword.arg, _value(keyword.value, names)) for keyword in keywords])


def _dict(pairs: list[tuple[Any, Any]]) -> Any:
    """Return a dict; a key None stands for ``**value``."""
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key is None and isinstance(value, dict):
            content |= value
        elif isinstance(key, str):
            content[key] = value
        else:
            return UNKNOWN
    return content


def _merged(base: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    """Merge as MMEngine does: dicts key by key, other values replaced."""
    merged = dict(base)
    for key, value in child.items():
        before = merged.get(key)
        if isinstance(value, dict):
            keeps = before is not None and not value.get('_delete_', False)
            if keeps and before is UNKNOWN:
                continue
            if keeps and not isinstance(before, dict):
                raise NotStaticError
            value = {name: item for name, item in value.items() if name != '_delete_'}
            value = _merged(before if keeps else {}, value)
        merged[key] = value
    return merged


def _nested(key: str, text: str) -> dict[str, Any]:
    """Return one option of the command line as a dict; a value that is not a plain word is unknown."""
    plain = not set(text) & set('[](){},"\'') and text.lower() not in ('none', 'true', 'false')
    value: Any = text if plain else UNKNOWN
    for name in reversed(key.split('.')):
        value = {name: value}
    return value


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
