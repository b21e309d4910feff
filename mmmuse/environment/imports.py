"""Import libraries in a process of their own, since an import that fails may end it."""

import json
import subprocess
import sys
from typing import Any

_MARK = '<mmmuse> '  # Before each answer, since libraries print as well.
# The finders of editable installs come with the interpreter; the path may have been changed.
_START = (
    'import json, sys; sys.path[:] = json.loads(sys.argv[1]); '
    'from mmmuse.environment.imports import _report; _report(json.loads(sys.argv[2]))'
)


def import_alone(module: str) -> str | None:
    """Return what an import raises, or None."""
    return import_all([module])[module].get('error')


def import_all(modules: list[str]) -> dict[str, dict[str, Any]]:
    """Import modules one after the other in a new process.

    Returns:
        Of each module ``error``, if its import failed, and ``file``, its file; of torch also
        ``cuda``, the version of CUDA that it was built for, and ``gpus``, the names of the GPUs.
    """
    run = subprocess.run(
        [sys.executable, '-c', _START, json.dumps(sys.path), json.dumps(modules)],
        capture_output=True,
        text=True,
        errors='replace',
    )
    found = {}
    for line in run.stdout.splitlines():
        if line.startswith(_MARK):
            module, facts = json.loads(line.removeprefix(_MARK))
            found[module] = facts
    for module in modules:  # The first one without an answer has ended the process.
        found.setdefault(module, dict(error=f'the import ended Python (code {run.returncode})'))
    return found


def _report(modules: list[str]) -> None:
    import mmmuse  # noqa: F401 - what mmcv lacks is stood in for

    for module in modules:
        print(f'\n{_MARK}{json.dumps([module, _facts(module)])}', flush=True)


def _facts(module: str) -> dict[str, Any]:
    try:
        __import__(module)
        imported = sys.modules[module]
        facts = dict(file=getattr(imported, '__file__', None))
        if module == 'torch':
            devices = range(imported.cuda.device_count())
            facts['cuda'] = imported.version.cuda
            facts['gpus'] = [imported.cuda.get_device_name(device) for device in devices]
    except BaseException as error:  # Also a library that exits.
        return dict(error=one_line(error))
    return facts


def one_line(error: BaseException) -> str:
    """Return the kind and the text of an error in one line."""
    text = ' '.join(str(error).split())
    return f'{type(error).__name__}: {text}' if text else type(error).__name__
