"""What is drawn on an image, read from matplotlib's own artists."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmmuse.analysis.detection_figure import (
    Detections,
    Panel,
    class_colour,
    draw_detections,
    ground_truth,
    predictions,
)
from mmmuse.analysis.pictured_data import picture_name
from mmmuse.errors import InputError
from mmmuse.export.trained import load_trained_detector

CLASSES = ['cat', 'do$g$']


def instances(boxes, labels, scores):
    return InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.long),
        scores=torch.tensor(scores, dtype=torch.float32),
    )


def figure_of(panels, height=40, width=60):
    image = np.zeros((height, width, 3), np.uint8)
    return draw_detections(Detections('some/cats.jpg', image, panels), CLASSES)


def rectangles(axis):
    """Left, top, width and height of each box of a panel."""
    return [
        (patch.get_x(), patch.get_y(), patch.get_width(), patch.get_height())
        for patch in axis.patches
    ]


def test_boxes_and_their_names_are_where_they_were_predicted():
    sample = DetDataSample(pred_instances=instances([[10, 5, 30, 25]], [1], [0.876]))
    figure = figure_of(predictions(sample, 0.3))
    (axis,) = figure.axes
    assert rectangles(axis) == [(10, 5, 20, 20)]
    (text,) = axis.texts
    assert text.get_text() == 'do$g$ 0.88'
    assert text.get_position() == (10, 5)
    assert axis.get_title() == 'Detector: 1 box'
    assert figure.get_suptitle() == 'cats.jpg'
    figure.draw_without_rendering()


def test_a_box_of_the_whole_image_has_the_images_own_extent():
    (axis,) = figure_of([Panel('Detector', torch.tensor([[0, 0, 60, 40]]), torch.tensor([0]))]).axes
    assert axis.images[0].get_extent() == [0, 60, 40, 0]
    assert (axis.get_xlim(), axis.get_ylim()) == ((0, 60), (40, 0))
    assert rectangles(axis) == [(0, 0, 60, 40)]


def test_scores_below_the_threshold_are_left_out_and_the_surest_lies_on_top():
    found = instances(
        [[0, 0, 9, 9], [1, 0, 9, 9], [2, 0, 9, 9], [3, 0, 9, 9]],
        [0, 0, 0, 0],
        [0.25, 0.9, 0.5, 0.1],
    )
    figure = figure_of(predictions(DetDataSample(pred_instances=found), 0.25))
    (axis,) = figure.axes
    assert axis.get_title() == 'Detector: 3 boxes'
    assert [text.get_text() for text in axis.texts] == ['cat 0.25', 'cat 0.50', 'cat 0.90']
    assert [patch.get_x() for patch in axis.patches] == [0, 2, 1]


def test_exits_stand_behind_the_detector_in_the_order_of_their_numbers():
    sample = DetDataSample(pred_instances=instances([], [], []))
    for number in (10, 2):
        sample.set_field(instances([[number, 0, 20, 9]], [0], [0.5]), f'exit{number}_instances')
    panels = [ground_truth([]), *predictions(sample, 0)]
    axes = figure_of(panels).axes
    assert [axis.get_title() for axis in axes] == [
        'Ground truth: 0 boxes',
        'Detector: 0 boxes',
        'Exit 2: 1 box',
        'Exit 10: 1 box',
    ]
    assert [rectangles(axis) for axis in axes] == [[], [], [(2, 0, 18, 9)], [(10, 0, 10, 9)]]


def test_a_class_has_one_colour_in_all_panels_and_neighbours_differ():
    boxes = torch.tensor([[0.0, 0, 9, 9], [20, 0, 30, 9]])
    panels = [
        Panel('Ground truth', boxes, torch.tensor([0, 1])),
        Panel('Detector', boxes, torch.tensor([1, 0]), torch.tensor([0.1, 0.9])),
    ]
    colours = [
        [to_rgb(patch.get_edgecolor()) for patch in axis.patches] for axis in figure_of(panels).axes
    ]
    assert colours[0] == colours[1][::-1] == [class_colour(0), class_colour(1)]
    assert len({class_colour(label) for label in range(80)}) == 80
    for label in range(79):
        assert np.abs(np.subtract(class_colour(label), class_colour(label + 1))).max() > 0.3


def test_boxes_to_ignore_are_no_ground_truth_and_have_no_score():
    panel = ground_truth(
        [
            dict(bbox=[1, 2, 5, 8], bbox_label=1, ignore_flag=0),
            dict(bbox=[0, 0, 50, 50], bbox_label=0, ignore_flag=1),
        ]
    )
    (axis,) = figure_of([panel]).axes
    assert rectangles(axis) == [(1, 2, 4, 6)]
    assert axis.texts[0].get_text() == 'do$g$'


def test_a_label_without_a_name_is_drawn_by_its_number():
    (axis,) = figure_of([Panel('Detector', torch.zeros(1, 4), torch.tensor([7]))]).axes
    assert axis.texts[0].get_text() == 'class 7'


@pytest.mark.parametrize(('height', 'width'), [(40, 4000), (4000, 40)])
def test_a_long_image_still_gives_a_picture_of_some_size(height, width):
    panels = [Panel('Detector', torch.zeros(0, 4), torch.zeros(0))] * 2
    wide, high = figure_of(panels, height, width).get_size_inches()
    assert 4 < wide <= 10
    assert 0.5 < high < 6


def test_pictures_of_images_of_one_name_do_not_overwrite_each_other():
    taken = []
    for path in ('a/x.jpg', 'b/x.png', 'x_2.jpg', 'x.jpg', 'y'):
        taken.append(picture_name(path, taken))
    assert taken == ['x.png', 'x_2.png', 'x_2_2.png', 'x_3.png', 'y.png']


@pytest.mark.parametrize(
    ('model', 'said'),
    [
        (None, 'the config has no model'),
        (dict(type='mmpretrain.ImageClassifier', backbone=dict(type='mmpretrain.LeNet5')),
         'no detector of mmdet: its model is mmpretrain.ImageClassifier'),
        (dict(type='mmmuse.SelfDistiller',
              student=dict(type='mmpretrain.ImageClassifier', backbone=dict(type='mmpretrain.LeNet5'))),
         'no detector of mmdet: its model is mmpretrain.ImageClassifier'),
        (dict(type='mmmuse.OnlineDistiller', peers={}), 'the config has no model'),
    ],
)  # fmt: skip
def test_a_model_that_is_no_detector_is_refused(model, said):
    with pytest.raises(InputError, match=said):
        load_trained_detector(Config(dict(default_scope='mmpretrain', model=model)), 'none.pth')
