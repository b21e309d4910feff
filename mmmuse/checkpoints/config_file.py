"""Read a config file, with one-line errors for a file that is not one.

A Python config is a program, which runs when it is read. JSON and YAML files are data.
"""

from pathlib import Path

from mmengine.config import Config
from mmengine.config.utils import ConfigParsingError

from mmmuse.errors import InputError


def read_config(path: str | Path) -> Config:
    """Read a config file.

    Raises:
        InputError: If it is no config: binary, damaged, or of another type. Errors that a Python
            config raises are passed on.
    """
    suffix = Path(path).suffix
    if suffix not in ('.py', '.json', '.yaml', '.yml'):
        raise InputError(f'{path} is not a config file: its name ends in .py, .json, .yaml or .yml')
    try:
        return Config.fromfile(path)
    except (InputError, ConfigParsingError):
        raise
    except SyntaxError as error:
        name = error.filename if Path(error.filename or '').is_file() else path
        raise InputError(f'{name}, line {error.lineno}: {error.msg}') from error
    except UnicodeDecodeError as error:
        raise InputError(f'{path} is not a config file: it is not text in UTF-8') from error
    except Exception as error:
        if suffix == '.py' and 'null bytes' not in str(error):
            raise
        raise InputError(f'{path} is not a config file: {type(error).__name__}: {error}') from error
