"""Keys of a config that nothing reads.

Which keys a user's own tool reads, or which variables a flat file was made from, cannot be known. A key
is refused if it is surely a mistake: an option of the command line that nothing reads, or a key one or
two letters from one that is read. Others are named in a warning.
"""

import ast
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmmuse.checkpoints.runner_keys import runner_keys
from mmmuse.errors import InputError

from .near_words import mistyped_word
from .parts import unknown_key

# Parts in which MMEngine ignores unknown keys, and the keys that it reads.
_IGNORING = {
    'env_cfg': {'cudnn_benchmark', 'dist_cfg', 'mp_cfg', 'resource_limit'},
    'auto_scale_lr': {'base_batch_size', 'enable'},
}
_FILES = 256  # Read for one command: a table has up to fifty configs, which share their bases.
_BASE_VARIABLE = re.compile(r'_base_\.(\w+)')


def check_keys_are_read(config: Config, path: str, options: Iterable[str]) -> None:
    """Refuse keys that are surely a mistake, and warn of others that nothing reads.

    Files of installed packages are not checked. A variable is not mentioned if the file or one that
    inherits from it uses it, or if its value is in a key that is read, as in a flat file.

    Args:
        config: Without the options.
        path: Of its file.
        options: Keys of ``--cfg-options``.

    Raises:
        InputError: If a key is a mistake; the message has the nearest known one.
    """
    read = runner_keys(config)
    _refuse_options(config, options, read)
    unread = []
    in_read = _without_scopes({key: value for key, value in config.items() if key in read})
    for key, alternatives in sorted(_unused(path, config, read).items()):
        if (nearest := mistyped_word(key, alternatives)) is not None:
            raise InputError(f'unknown config key {key!r}; did you mean {nearest!r}?')
        if not _occurs(_without_scopes(config[key]), in_read):
            unread.append(key)
    if _is_own(Path(path)):
        unread += _unread_in_parts(config)
    if unread:
        _warn(
            f'warning: {path}: these keys have no effect: {", ".join(unread)} (variables that the '
            'file does not use, or keys of another tool)'
        )


def own_files(path: Path) -> list[Path]:
    """Return a config file and its bases, without those of installed packages."""
    if path.suffix != '.py' or not _is_own(path) or not path.is_file():
        return []
    is_lazy, names = _names_of_bases(str(path), path.read_text(encoding='utf-8'))
    if is_lazy:
        bases = [file for name in names if (file := _file_of_module(name, path))]
    else:
        bases = [path.parent / name for name in names if '::' not in name]
    return [path, *(own for base in bases for own in own_files(base))]


@lru_cache(_FILES)
def _names_of_bases(path: str, text: str) -> tuple[bool, list[str]]:
    """Return whether a file of this text is a pure-Python config, and the modules or paths of its bases."""
    if Config._is_lazy_import(path):
        return True, list(Config._get_base_modules(_parsed(text).body))
    return False, list(Config._get_base_files(path))


def file_that_contains(text: str, path: str) -> Path | None:
    """Return the config file, or the base of it, that has a string, or None."""
    for file in own_files(Path(path)):
        constants = (node for node in ast.walk(_tree(file)) if isinstance(node, ast.Constant))
        if any(constant.value == text for constant in constants):
            return file
    return None


def _refuse_options(config: Config, options: Iterable[str], read: set[str]) -> None:
    for key in options:
        top, _, rest = key.partition('.')
        if top not in read:
            if top in config:
                raise InputError(
                    f'unknown config key {top!r}: it is a variable of the config file, used before the '
                    'command line is read; set the keys that it is used for, or change the file'
                )
            raise InputError(unknown_key(top, read))
        known = _IGNORING.get(top)
        if known and rest and rest.partition('.')[0] not in known:
            raise InputError(unknown_key(f'{top}.{rest.partition(".")[0]}', known))


def _unread_in_parts(config: Config) -> list[str]:
    """Return the keys that MMEngine ignores in parts; refuse those that are mistyped."""
    unread = []
    for path, known in _IGNORING.items():
        part = config.get(path)
        keys = set(part) - known - {'_scope_'} if isinstance(part, Mapping) else set()
        for key in sorted(keys):
            if mistyped_word(key, known):
                raise InputError(unknown_key(f'{path}.{key}', known))
            unread.append(f'{path}.{key}')
    return unread


def _unused(path: str, config: Config, read: set[str]) -> dict[str, set[str]]:
    """Return the keys of a config that no file of it uses.

    For each, those known keys that the same file does not set: who wrote ``train_cfg`` did not mistype it.
    """
    unused: dict[str, set[str]] = {}
    used: set[str] = set()
    for assigned, used_here in _names(Path(path), config):
        used |= used_here
        for key in assigned - read:
            unused[key] = unused.get(key, set()) | (read - assigned)
    return {key: known for key, known in unused.items() if key not in used and key in config}


def _names(path: Path, config: Config) -> Iterator[tuple[set[str], set[str]]]:
    """Yield the names that each file of a config assigns, and those that it uses."""
    if path.suffix != '.py':
        yield set(config), set()
    for file in own_files(path):
        assigned: set[str] = set()
        used: set[str] = set()
        for node in ast.walk(_tree(file)):
            if isinstance(node, ast.Name):
                (used if isinstance(node.ctx, ast.Load) else assigned).add(node.id)
            elif isinstance(node, ast.Attribute):  # _base_.name
                used.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                used.update(_BASE_VARIABLE.findall(node.value))
        yield assigned, used


def _occurs(value: Any, inside: Any) -> bool:
    """Return whether a value is somewhere in nested dicts and lists."""
    if type(value) is type(inside) and value == inside:
        return True
    if isinstance(inside, Mapping):
        return any(_occurs(value, item) for item in inside.values())
    if isinstance(inside, (list, tuple)):
        return any(_occurs(value, item) for item in inside)
    return False


def _without_scopes(value: Any) -> Any:
    """Return nested dicts and lists without what MMEngine adds to bases of other packages."""
    if isinstance(value, Mapping):
        items = value.items()
        return {key: _without_scopes(item) for key, item in items if key != '_scope_'}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_without_scopes, value))
    return value


def _file_of_module(module: str, path: Path) -> Path | None:
    """Return the file of a base that a pure-Python config imports relative to itself."""
    name = module.lstrip('.')
    level = len(module) - len(name)
    if level == 0:
        return None
    return path.resolve().parents[level - 1] / f'{name.replace(".", "/")}.py'


def _is_own(path: Path) -> bool:
    return not {'site-packages', 'dist-packages'} & set(path.resolve().parts)


def _tree(file: Path) -> ast.Module:
    return _parsed(file.read_text(encoding='utf-8'))


@lru_cache(_FILES)
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def _warn(line: str) -> None:
    if os.environ.get('RANK', '0') == '0':  # Of several processes one says it.
        print(line, file=sys.stderr)
