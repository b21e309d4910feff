"""A figure of an image's copies side by side."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

_NARROWEST = 2.5  # Inches that a title needs.


def panel_figure(
    size: Sequence[int], count: int, path: str, panel: float, beside: float, note: str = ''
) -> tuple[Figure, list[Axes]]:
    """Return a figure with a row of axes for an image's copies, under the name of its file.

    Args:
        size: ``(H, W)`` of the image.
        count: Of the copies.
        path: Of the image file.
        panel: Inches of the longer side of a copy.
        beside: Inches for titles and legends, above and below.
        note: Text after the file's name.
    """
    height, width = size[:2]
    inch = panel / max(height, width)
    figure = Figure(
        (max(inch * width, _NARROWEST) * count, inch * height + beside), layout='constrained'
    )
    axes = list(figure.subplots(1, count, squeeze=False)[0])
    for axis in axes:
        axis.set_axis_off()
    figure.suptitle(f'{Path(path).name}{note}', parse_math=False)
    return figure, axes
