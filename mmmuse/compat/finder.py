import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType


class FallbackOpsFinder:
    """Finds the replacement of ``mmcv._ext`` if mmcv has the Python part of its ops."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != 'mmcv._ext' or PathFinder.find_spec('mmcv.ops', path) is None:
            return None
        return spec_from_file_location(name, Path(__file__).with_name('mmcv_ops.py'))


def stand_in_for_mmcv_ops() -> None:
    """Import :mod:`mmmuse.compat.mmcv_ops` as ``mmcv._ext`` where mmcv has no compiled ops.

    Without compiled ops ``import mmdet.models`` fails on ``mmcv._ext``. The finder is the
    last of :data:`sys.meta_path`, so compiled ops take precedence, and nothing is imported
    before it is needed. A second call changes nothing.

    ``import mmmuse`` calls it. This must precede the first import of mmdet, which
    ``import mmpretrain.models`` tries as well.
    """
    if FallbackOpsFinder not in sys.meta_path:
        sys.meta_path.append(FallbackOpsFinder)
