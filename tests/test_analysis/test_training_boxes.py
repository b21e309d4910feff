import json
import math
from pathlib import Path

import pytest

from mmmuse.analysis.training_boxes import annotation_files, image_size_of, read_boxes
from mmmuse.errors import InputError


@pytest.fixture
def coco(tmp_path):
    """A file with two images of other shapes and boxes of every kind."""
    boxes = [
        (1, [0, 0, 100, 50], 1, {}),
        (2, [10, 10, 30, 60], 2, {}),
        (1, [0, 0, 90, 90], 1, dict(iscrowd=1)),
        (1, [0, 0, 90, 90], 1, dict(ignore=True)),
        (1, [0, 0, 0.5, 90], 1, {}),
        (1, [0, 0, 9, 9], 1, dict(area=0)),
        (1, [700, 0, 9, 9], 1, {}),
        (1, [0, 0, math.nan, 9], 1, {}),
    ]
    content = dict(
        images=[
            dict(id=1, file_name='1.png', width=640, height=480),
            dict(id=2, file_name='2.png', width=100, height=200),
        ],
        categories=[dict(id=1, name='cell'), dict(id=2, name='plate')],
        annotations=[
            {**dict(id=i, image_id=image, bbox=bbox, area=9, category_id=category), **more}
            for i, (image, bbox, category, more) in enumerate(boxes)
        ],
    )
    path = tmp_path / 'boxes.json'
    path.write_text(json.dumps(content))
    return str(path)


def test_boxes_are_scaled_by_the_longer_side_and_what_is_no_box_is_counted(coco):
    boxes = read_boxes({coco: None}, 320)
    assert boxes.sizes.tolist() == [[50, 25], [48, 96]]
    assert boxes.left_out == dict(crowd=1, ignored=1, degenerate=4)


def test_only_the_boxes_of_the_data_sets_classes_count(coco):
    boxes = read_boxes({coco: ('cell',)}, 640)
    assert boxes.sizes.tolist() == [[100, 50]]
    assert boxes.left_out['of other classes'] == 1


def test_classes_that_are_not_the_files_categories_are_refused(coco):
    with pytest.raises(InputError, match=r'classes of the data set are dog .* cell, plate'):
        read_boxes({coco: ('dog',)}, 640)


def test_a_file_with_no_box_of_the_classes_is_refused(coco):
    content = json.loads(Path(coco).read_text())
    content['categories'].append(dict(id=3, name='dog'))
    Path(coco).write_text(json.dumps(content))
    with pytest.raises(InputError, match=r'no boxes in .*boxes.json; left out: .*of other classes'):
        read_boxes({coco: ('dog',)}, 640)


@pytest.mark.parametrize(
    'content', ['', '[]', '{}', '{"images": [1]}', '{"images": [{"id": 1, "width": 2}]}']
)
def test_an_invalid_annotation_file_is_refused(content, tmp_path):
    path = tmp_path / 'boxes.json'
    path.write_text(content)
    with pytest.raises(InputError, match='is not a valid COCO annotation file'):
        read_boxes({str(path): None}, 640)


def test_annotation_files_are_found_behind_wrappers():
    first = dict(data_root='data/', ann_file='a.json', metainfo=dict(classes=('cell',)))
    second = dict(data_root='data', ann_file='/b.json')
    repeated = dict(type='RepeatDataset', times=2, dataset=first)
    both = dict(type='ConcatDataset', datasets=[repeated, second, dict(type='Digits')])
    wrapped = dict(type='MultiImageMixDataset', dataset=both)
    assert annotation_files(wrapped) == {'data/a.json': ('cell',), '/b.json': None}


def test_the_image_size_is_that_of_the_outermost_square_resize_or_mosaic():
    inner = dict(pipeline=[dict(type='LoadImageFromFile'), dict(type='Resize', scale=(416, 416))])
    mosaic = dict(pipeline=[dict(type='mmdet.Mosaic', img_scale=(320, 320))], dataset=inner)
    assert image_size_of(inner) == 416
    assert image_size_of(mosaic) == 320
    assert image_size_of(dict(type='ConcatDataset', datasets=[{}, inner])) == 416
    assert image_size_of(dict(pipeline=[dict(type='Resize', scale=640)])) == 640
    for scale in ((1333, 800), [(320, 320), (608, 608)], None):
        assert image_size_of(dict(pipeline=[dict(type='RandomResize', scale=scale)])) is None
