"""What is drawn of masks, read from matplotlib's own artists."""

import numpy as np
import pytest
import torch

pytest.importorskip('mmseg')

from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmmuse.analysis.mask_figure import Masks, Panel, coloured, draw_masks, masks_of_sample

CLASSES, PALETTE = ['sky', 's$e$a', 'sand'], [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


def mask(values: list[list[int]]) -> PixelData:
    return PixelData(data=torch.tensor([values]))


def test_panels_are_the_truth_the_segmenter_and_the_exits_by_number():
    sample = SegDataSample(gt_sem_seg=mask([[0, 1]]), pred_sem_seg=mask([[1, 1]]))
    sample.set_field(mask([[0, 0]]), 'exit10_sem_seg')
    sample.set_field(mask([[2, 2]]), 'exit2_sem_seg')
    panels = masks_of_sample(sample)
    assert [panel.title for panel in panels] == ['Ground truth', 'Segmenter', 'Exit 2', 'Exit 10']
    assert [panel.mask.tolist() for panel in panels] == [[[0, 1]], [[1, 1]], [[2, 2]], [[0, 0]]]
    del sample.gt_sem_seg
    assert masks_of_sample(sample)[0].title == 'Segmenter'


def test_a_pixel_has_the_colour_of_its_class_and_without_one_it_is_grey():
    found = coloured(np.array([[0, 2], [255, 1]]), PALETTE)
    assert found.tolist() == [[[255, 0, 0], [0, 0, 255]], [[128, 128, 128], [0, 255, 0]]]


def test_image_and_masks_are_side_by_side_with_the_names_of_the_classes_that_occur():
    image = np.full((4, 6, 3), 7, np.uint8)
    panels = [
        Panel('Ground truth', np.full((4, 6), 255)),
        Panel('Segmenter', np.zeros((4, 6), int)),
        Panel('Exit 1', np.ones((4, 6), int)),
    ]
    figure = draw_masks(Masks('some/beach.png', image, panels), CLASSES, PALETTE)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ['Image', 'Ground truth', 'Segmenter', 'Exit 1']
    shown = [axis.images[0].get_array() for axis in figure.axes]
    assert np.array_equal(shown[0], image)
    assert [each[0, 0].tolist() for each in shown[2:]] == PALETTE[:2]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == CLASSES[:2]
    figure.canvas.draw()  # A name with dollars is no formula.
