import sys
from importlib.util import module_from_spec
from types import ModuleType

import mmcv.ops
import pytest

from mmmuse.compat.finder import FallbackOpsFinder

SPEC = FallbackOpsFinder.find_spec('mmcv._ext', mmcv.__path__)
STAND_IN = module_from_spec(SPEC)
SPEC.loader.exec_module(STAND_IN)
FILES = ('nms', 'roi_align', 'roi_pool', 'focal_loss', 'deform_conv', 'modulated_deform_conv')


@pytest.fixture(autouse=True)
def stand_in(monkeypatch) -> ModuleType:
    """The replacement of the ops, which mmcv uses even if the compiled ops are installed."""
    for file in FILES:
        monkeypatch.setattr(sys.modules[f'mmcv.ops.{file}'], 'ext_module', STAND_IN)
    return STAND_IN
