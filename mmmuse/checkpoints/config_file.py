"""Read a config file, with one-line errors for a file that is not one.

A Python config is a program, which runs when it is read. JSON and YAML files are data.
"""

from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config
from mmengine.config.utils import ConfigParsingError

from mmmuse.errors import InputError

from .packaged_config import packaged_file
from .regular_file import why_no_file

# MMEngine's assertions about the imports of a pure-Python config.
_NOT_LAZY = 'Illegal syntax in config!'


def read_config(path: str | Path) -> Config:
    """Read a config file.

    Raises:
        InputError: If it is not a config: binary, damaged, or of another type. Errors that a Python
            config raises are passed on. If a base of it, ``mmpretrain::folder/file.py``, does not exist.
    """
    suffix = Path(path).suffix
    if suffix not in ('.py', '.json', '.yaml', '.yml'):
        raise InputError(f'{path} is not a config file: its name ends in .py, .json, .yaml or .yml')
    try:
        return Config.fromfile(path)
    except InputError:
        raise
    except ConfigParsingError as error:
        raise InputError(f'{path}: {error}') from error
    except SyntaxError as error:
        if 'U+FEFF' in str(error):
            raise _byte_order_mark(Path(path)) from error
        name = error.filename if Path(error.filename or '').is_file() else path
        raise InputError(f'{name}, line {error.lineno}: {error.msg}') from error
    except UnicodeDecodeError as error:
        raise InputError(f'{path} is not a config file: it is not text in UTF-8') from error
    except Exception as error:
        for file, base in _bases(Path(path)):
            _check_base(file, base)
        if 'BOM' in str(error):
            raise _byte_order_mark(Path(path)) from error
        if 'inheritance chain' in str(error):
            raise InputError(
                f'{path}: text configs and pure-Python configs (read_base, or an import of more than '
                'the standard library) cannot inherit from each other'
            ) from error
        if _NOT_LAZY in str(error):
            raise InputError(f'{path}: {str(error).replace(_NOT_LAZY, "").strip()}') from error
        if suffix == '.py' and 'null bytes' not in str(error):
            raise
        raise InputError(f'{path} is not a config file: {type(error).__name__}: {error}') from error


def _bases(path: Path) -> Iterator[tuple[Path, str]]:
    """Yield each base of a config and of its own bases, after the file that names it."""
    if path.suffix != '.py' or not path.is_file() or Config._is_lazy_import(str(path)):
        return
    for base in Config._get_base_files(str(path)):
        yield path, base
        if '::' not in base:
            yield from _bases(path.parent / base)


def _check_base(file: Path, base: str) -> None:
    if '::' in base:
        packaged_file(base)
    elif (why := why_no_file(file.parent / base)) is not None:
        raise InputError(f'{file}: cannot read its base {base!r}: {why}')


def _byte_order_mark(path: Path) -> InputError:
    """Return the error for a config, or a base of it, that starts with a byte order mark."""
    marked = path.is_file() and path.read_bytes().startswith(BOM_UTF8)
    name = path if marked else f'a base of {path}'
    return InputError(
        f'{name} starts with a byte order mark, which MMEngine does not read: save it as UTF-8 without it'
    )
