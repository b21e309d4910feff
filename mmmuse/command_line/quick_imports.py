"""Import the libraries of a command in less time."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mmmuse.compat.deferred_figure import defer_figure_of_visualizers
from mmmuse.compat.deferred_multimodal import defer_multimodal
from mmmuse.compat.deferred_names import defer_slow_names
from mmmuse.compat.deferred_part import defer_part_of_mmdet


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import without what a config may never use, and with garbage collection disabled.

    What was imported is exempt from later garbage collections, which would find nothing in it: they take a
    fraction of a second each, in the middle of the training.
    """
    defer_slow_names()
    defer_part_of_mmdet()
    defer_multimodal()
    is_first = 'torch' not in sys.modules
    is_first = is_first and gc.isenabled()
    if is_first:
        gc.disable()
    try:
        yield
        if 'mmengine.visualization' in sys.modules:
            defer_figure_of_visualizers()
        if is_first:
            gc.freeze()
    finally:
        if is_first:
            gc.enable()
