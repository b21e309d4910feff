"""The figure of MMEngine's visualizers, deferred until something is drawn.

A run builds a visualizer for its scalars, and with it a figure: to import Matplotlib for it takes most of a second, and few
runs draw.
"""

from functools import wraps
from typing import Any

_NAMES = ('fig_save_canvas', 'fig_save', 'ax_save')
_DPI = 'dpi'


def defer_figure_of_visualizers() -> None:
    """Make a visualizer's figure when it is first used.

    The commands call it. A second call changes nothing.
    """
    from mmengine.visualization import Visualizer

    if hasattr(Visualizer, '__getattr__'):  # This one, or one of a later MMEngine.
        return
    build = Visualizer.__init__

    # MMEngine's metaclass looks for ``name``.
    @wraps(build)
    def without_figure(
        self: Visualizer, name: str = 'visualizer', image: Any = None, *args: Any, **kwargs: Any
    ) -> None:
        self._initialize_fig = lambda config: (None, _Undrawn, None)
        build(self, name, None, *args, **kwargs)
        for each in ('_initialize_fig', *_NAMES, _DPI):
            del self.__dict__[each]
        if image is not None:
            self.set_image(image)

    Visualizer.__init__ = without_figure
    Visualizer.__getattr__ = _drawn


class _Undrawn:
    """Stands for a figure while a visualizer is built."""

    @staticmethod
    def get_dpi() -> None:
        """Return nothing: the figure's own value is read when it is made."""


def _drawn(self: Any, name: str) -> Any:
    """Return a part of the figure, which is made for it."""
    if name not in (*_NAMES, _DPI) or 'fig_save_cfg' not in self.__dict__:
        raise AttributeError(f'{type(self).__name__!r} object has no attribute {name!r}')
    self.fig_save_canvas, self.fig_save, self.ax_save = self._initialize_fig(self.fig_save_cfg)
    self.dpi = self.fig_save.get_dpi()
    return self.__dict__[name]
