"""A visualizer of MMEngine has the figure that it would have had, once something is drawn."""

import numpy as np
import pytest
from mmengine.visualization import Visualizer
from mmpretrain.visualization import UniversalVisualizer

from mmmuse.compat.deferred_figure import defer_figure_of_visualizers

IMAGE = np.full((20, 30, 3), 128, np.uint8)


@pytest.fixture(autouse=True)
def _at_once():
    """MMEngine's own constructor, which a command in this process may have replaced."""
    build, drawn = Visualizer.__init__, vars(Visualizer).get('__getattr__')
    Visualizer.__init__ = getattr(build, '__wrapped__', build)
    if drawn is not None:
        del Visualizer.__getattr__
    yield
    Visualizer.__init__ = build
    if drawn is not None:
        Visualizer.__getattr__ = drawn
    elif '__getattr__' in vars(Visualizer):
        del Visualizer.__getattr__


@pytest.fixture
def _deferred(_at_once):
    defer_figure_of_visualizers()


def drawn(visualizer: Visualizer) -> np.ndarray:
    visualizer.set_image(IMAGE)
    visualizer.draw_bboxes(np.array([[3, 4, 12, 15]]), edge_colors='r')
    return visualizer.get_image()


@pytest.mark.parametrize('settings', [{}, {'fig_save_cfg': dict(frameon=False, dpi=50)}])
@pytest.mark.parametrize('kind', [Visualizer, UniversalVisualizer])
def test_it_draws_the_same(kind, settings, request):
    at_once = drawn(kind(**settings))
    request.getfixturevalue('_deferred')
    visualizer = kind(**settings)
    assert 'fig_save' not in vars(visualizer)
    assert (drawn(visualizer) == at_once).all()
    assert visualizer.dpi == settings.get('fig_save_cfg', {}).get('dpi', 100)


@pytest.mark.usefixtures('_deferred')
def test_an_image_given_to_the_constructor_is_shown():
    assert (Visualizer('one', IMAGE).get_image() == IMAGE).all()


@pytest.mark.usefixtures('_deferred')
def test_the_figure_is_made_once():
    visualizer = Visualizer()
    axes = visualizer.ax_save
    assert visualizer.fig_save.axes == [axes]
    assert visualizer.fig_save_canvas.figure is visualizer.fig_save


@pytest.mark.usefixtures('_deferred')
def test_other_names_are_missing_as_before():
    with pytest.raises(AttributeError, match="'Visualizer' object has no attribute 'figure'"):
        _ = Visualizer().figure


@pytest.mark.usefixtures('_deferred')
def test_a_second_call_changes_nothing():
    build = Visualizer.__init__
    defer_figure_of_visualizers()
    assert Visualizer.__init__ is build
