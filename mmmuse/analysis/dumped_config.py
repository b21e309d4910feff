"""Read the config that a run has dumped, without running it."""

import ast
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmmuse.checkpoints.regular_file import check_regular_file
from mmmuse.errors import InputError

_LARGEST = 16 * 2**20  # Bytes; a dumped config has some ten thousand.


def read_dumped_config(path: Path) -> Config:
    """Read a config that MMEngine has dumped: assignments of literals and of ``dict(...)``.

    The file is only parsed, so that a config of unknown origin can be looked at.

    Args:
        path: A Python file.

    Raises:
        InputError: If it is missing, too large, not Python, or has anything but such assignments.
    """
    check_regular_file(path, 'config file')
    if path.stat().st_size > _LARGEST:
        raise InputError(f'{path} is not a dumped config: it is larger than {_LARGEST} bytes')
    try:
        tree = ast.parse(path.read_text(encoding='utf-8'))
        return Config(dict(map(_assignment, tree.body)))
    except (SyntaxError, ValueError, LookupError, TypeError, RecursionError, MemoryError) as error:
        reason = ' '.join(str(error).split())[:200]
        raise InputError(
            f'{path} is not a dumped config, which has only literals and dict(...): {reason}'
        ) from error


def _assignment(node: ast.stmt) -> tuple[str, Any]:
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        (target,) = node.targets
        if isinstance(target, ast.Name):
            return target.id, _value(node.value)
    raise ValueError(f'line {node.lineno} is not an assignment')


def _value(node: ast.expr) -> Any:
    """Return the value of a literal, with calls of ``dict`` in it."""
    if isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Name) or node.func.id != 'dict':
            raise ValueError(f'line {node.lineno} calls a function')
        content = dict(*map(_value, node.args))
        for keyword in node.keywords:
            value = _value(keyword.value)
            content.update(value if keyword.arg is None else {keyword.arg: value})
        return content
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        kind = {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)]
        return kind(map(_value, node.elts))
    if isinstance(node, ast.Dict):
        return {
            ast.literal_eval(key): _value(value)
            for key, value in zip(node.keys, node.values, strict=True)
        }
    return ast.literal_eval(node)
