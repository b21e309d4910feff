import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

import mmcv.ops
import pytest

from mmmuse.compat.finder import FallbackOpsFinder

SPEC = FallbackOpsFinder.find_spec('mmcv._ext', mmcv.__path__)
STAND_IN = module_from_spec(SPEC)
SPEC.loader.exec_module(STAND_IN)
ROOT = Path(__file__).resolve().parents[2]
FILES = ('nms', 'roi_align', 'roi_pool', 'focal_loss', 'deform_conv', 'modulated_deform_conv')


@pytest.fixture(autouse=True)
def stand_in(monkeypatch) -> ModuleType:
    """The replacement of the ops, which mmcv uses even if the compiled ops are installed."""
    for file in FILES:
        monkeypatch.setattr(sys.modules[f'mmcv.ops.{file}'], 'ext_module', STAND_IN)
    return STAND_IN


@pytest.fixture
def printed_with(tmp_path) -> Callable[[str, Mapping[str, str]], list[str]]:
    """A function that runs a program beside packages of these files, and returns the words that it prints."""

    def run(program: str, files: Mapping[str, str]) -> list[str]:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, encoding='utf-8')
        finished = subprocess.run(
            [sys.executable, '-c', program],
            env={'PYTHONPATH': f'{tmp_path}:{ROOT}'},
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        return finished.stdout.split()

    return run
