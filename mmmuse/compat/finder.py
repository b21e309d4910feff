import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType


class LastResort:
    """Finds ``mmcv._ext`` in this folder, for an mmcv that has the Python half of its ops."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != 'mmcv._ext' or PathFinder.find_spec('mmcv.ops', path) is None:
            return None
        return spec_from_file_location(name, Path(__file__).with_name('mmcv_ops.py'))


def stand_in_for_mmcv_ops() -> None:
    """Let :mod:`mmmuse.compat.mmcv_ops` be imported as ``mmcv._ext`` where there is no other.

    A plain install of mmcv has no compiled ops, and ``import mmdet.models`` then
    fails on ``mmcv._ext``. The finder stands last in :data:`sys.meta_path`, so the
    real ops always win, and nothing is imported before somebody asks for them. A
    second call changes nothing.

    ``import mmmuse`` calls it. That has to come before mmdet is first imported, which
    ``import mmpretrain.models`` tries as well: what mmdet missed then stays missing.
    """
    if LastResort not in sys.meta_path:
        sys.meta_path.append(LastResort)
