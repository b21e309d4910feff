"""One line for an import that fails because of what is installed."""

import traceback

from .imports import one_line
from .libraries import version_of
from .torch_pair import fitting_torchvision

_OURS = 'mmmuse'


def import_explanation(error: BaseException) -> str | None:
    """Return one line for an error that a library has raised during an import.

    An error of our own code is a bug, and None is returned.
    """
    packages = [
        str(frame.f_globals.get('__name__', '')).partition('.')[0]
        for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    packages = [name for name in packages if name not in ('importlib', '')]
    if 'torchvision::' in str(error):
        versions = ' and '.join(
            f'{name} {version_of(name) or "(unknown version)"}' for name in ('torch', 'torchvision')
        )
        return f'{versions} do not fit ({one_line(error)}): {fitting_torchvision()}'
    if isinstance(error, ImportError):
        if (error.name or '').partition('.')[0] in (_OURS, '__main__'):
            return None
        failed = next((name for name in packages if name not in (_OURS, '__main__')), error.name)
    elif packages and packages[-1] == _OURS:
        return None
    else:
        failed = next((name for name in packages if name not in (_OURS, '__main__')), None)
    if failed is None:
        return None
    return f'cannot import {failed}: {one_line(error)}; mmmuse check says what does not fit'
