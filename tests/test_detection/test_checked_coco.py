import json
import logging
import math
from pathlib import Path

import pytest

from mmmuse.detection import CheckedCocoDataset, checked_coco
from mmmuse.errors import InputError

CATEGORIES = ['cat', 'dog', 'owl']


def annotation(number: int, bbox: list, **options) -> dict:
    area = bbox[2] * bbox[3]
    return {
        **dict(id=number, image_id=1, category_id=7, bbox=bbox, area=area, iscrowd=0),
        **options,
    }


def written(path, boxes=(), categories=CATEGORIES, **changes) -> str:
    """The annotation file of one image of 100x80; of boxes ``[x, y, w, h]`` or whole entries."""
    entries = [box if isinstance(box, dict) else annotation(i, box) for i, box in enumerate(boxes)]
    content = dict(
        images=[dict(id=1, file_name='1.jpg', width=100, height=80)],
        annotations=entries,
        categories=[dict(id=7 + i, name=name) for i, name in enumerate(categories)],
    )
    file = path / 'instances.json'
    file.write_text(json.dumps({**content, **changes}))
    return str(file)


def data_set(file: str, classes=('cat', 'dog', 'owl'), **options) -> CheckedCocoDataset:
    return CheckedCocoDataset(
        ann_file=file,
        data_prefix=dict(img=''),
        metainfo=dict(classes=classes),
        serialize_data=False,
        **options,
    )


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """The warnings that are logged."""
    lines = []

    def note(message, logger, level):
        assert (logger, level) == ('current', logging.WARNING)
        lines.append(message)

    monkeypatch.setattr(checked_coco, 'print_log', note)
    return lines


def boxes_of(dataset: CheckedCocoDataset) -> list[list[float]]:
    return [instance['bbox'] for instance in dataset.get_data_info(0)['instances']]


def test_boxes_are_corners_and_labels_are_numbers_of_classes(tmp_path, said):
    boxes = [annotation(1, [10, 20, 30, 40]), annotation(2, [0, 0, 100, 80], category_id=9)]
    dataset = data_set(written(tmp_path, boxes))
    assert boxes_of(dataset) == [[10, 20, 40, 60], [0, 0, 100, 80]]
    assert [instance['bbox_label'] for instance in dataset.get_data_info(0)['instances']] == [0, 2]
    assert not said


def test_a_missing_annotation_file_is_named(tmp_path):
    file = str(tmp_path / 'nowhere.json')
    with pytest.raises(InputError) as error:
        data_set(file)
    assert str(error.value) == f'annotation file not found: {file}'


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'{"images": [',
        b'\xff\xd8\xff\xe0 an image',
        b'{}',
        b'{"images": [], "annotations": []}',
        b'{"images": [{"id": 1}], "annotations": [], "categories": []}',
        b'{"images": [], "annotations": [{"id": 1}], "categories": []}',
        b'{"images": 3, "annotations": [], "categories": []}',
    ],
    ids=[
        'empty',
        'broken off',
        'no text',
        'no keys',
        'no categories',
        'an image without a file',
        'an annotation without a box',
        'no list of images',
    ],
)
def test_an_invalid_annotation_file_is_named(tmp_path, content):
    file = tmp_path / 'instances.json'
    file.write_bytes(content)
    with pytest.raises(InputError) as error:
        data_set(str(file), classes=())
    assert str(error.value).startswith(f'{file} is not a valid COCO annotation file: ')


@pytest.mark.parametrize(
    'content',
    [
        b'[]',
        b'{"images": [{"id": 1, "file_name": "1.jpg", "width": 9, "height": 9}], "categories": '
        b'[{"id": 7, "name": "cat"}], "annotations": [{"id": 1, "image_id": 1, "bbox": [1, 2, 3], '
        b'"category_id": 7, "area": 9}]}',
    ],
    ids=['a list', 'a box of three numbers'],
)
def test_a_file_of_another_structure_is_named(tmp_path, content):
    file = tmp_path / 'instances.json'
    file.write_bytes(content)
    with pytest.raises(InputError) as error:
        data_set(str(file), classes=())
    assert str(error.value).startswith(f'{file} is not a valid COCO annotation file: ')


def test_a_missing_data_prefix_is_not_blamed_on_the_file(tmp_path):
    file = written(tmp_path, [[10, 20, 30, 40]])
    with pytest.raises((InputError, KeyError)) as error:
        CheckedCocoDataset(ann_file=file, metainfo=dict(classes=CATEGORIES))
    assert 'valid COCO annotation file' not in str(error.value)


@pytest.mark.parametrize(
    'classes', [('cat', 'dog', 'fox'), ('fox',), ('dog', 'cat', 'owl'), ('owl', 'cat')]
)
def test_classes_that_are_not_the_categories_in_their_order_are_refused(tmp_path, classes):
    with pytest.raises(InputError) as error:
        data_set(written(tmp_path, [[10, 20, 30, 40]]), classes)
    assert f'the classes of the data set are {", ".join(classes)} and the cat' in str(error.value)
    assert 'annotation file cat, dog, owl: set metainfo.classes' in str(error.value)


def test_mmdets_80_classes_are_refused_in_a_short_line(tmp_path):
    with pytest.raises(InputError) as error:
        CheckedCocoDataset(ann_file=written(tmp_path))
    assert 'are person, bicycle, car, motorcycle, airplane, ... (80) and' in str(error.value)


def test_some_of_the_categories_are_enough(tmp_path, said):
    boxes = [annotation(i, [10, 20, 30, 40], category_id=7 + i) for i in range(3)]
    dataset = data_set(written(tmp_path, boxes), ('cat', 'owl'))
    assert [instance['bbox_label'] for instance in dataset.get_data_info(0)['instances']] == [0, 1]


def test_boxes_outside_empty_and_beyond_are_counted_in_one_line(tmp_path, said):
    kept = [[-5, 10, 20, 20], [10, -1, 20, 20], [90, 10, 20, 20], [10, 70, 20, 20]]
    outside = [[100, 10, 20, 20], [10, 80, 20, 20], [-20, 10, 20, 20]]
    empty = [[10, 10, 0, 20], [10, 10, 20, 0.5]]
    file = written(tmp_path, [*kept, *outside, *empty, [50, 50, 10, 10]])
    dataset = data_set(file)
    assert said == [
        f'{file}: boxes 3 outside their image (left out), 2 without an area (left out), '
        '4 reaching beyond their image'
    ]
    assert boxes_of(dataset) == [
        [-5, 10, 15, 30],
        [10, -1, 30, 19],
        [90, 10, 110, 30],
        [10, 70, 30, 90],
        [50, 50, 60, 60],
    ]


@pytest.mark.parametrize(
    ('box', 'what'),
    [
        ([-30, 10, 20, 20], '1 outside their image (left out)'),
        ([10, 10, -5, 20], '1 without an area (left out)'),
        ([-3, 10, 20, 20], '1 reaching beyond their image'),
    ],
)
def test_a_kind_that_does_not_occur_is_not_mentioned(tmp_path, said, box, what):
    file = written(tmp_path, [box, [50, 50, 10, 10]])
    data_set(file)
    assert said == [f'{file}: boxes {what}']


def test_a_second_load_counts_anew(tmp_path, said):
    dataset = data_set(written(tmp_path, [[-3, 10, 20, 20]]))
    dataset.load_data_list()
    assert said[0] == said[1]


def test_a_box_left_out_for_its_annotated_area_is_counted(tmp_path, said):
    file = written(tmp_path, [annotation(1, [10, 10, 20, 20], area=0)])
    assert boxes_of(data_set(file)) == []
    assert said == [f'{file}: boxes 1 without an area (left out)']


def test_crowds_are_marked(tmp_path, said):
    boxes = [annotation(1, [10, 20, 30, 40], iscrowd=1), annotation(2, [0, 0, 50, 50])]
    dataset = data_set(written(tmp_path, boxes))
    assert [instance['ignore_flag'] for instance in dataset.get_data_info(0)['instances']] == [1, 0]


def image(number: int = 1, **options) -> dict:
    return {**dict(id=number, file_name=f'{number}.jpg', width=100, height=80), **options}


def short(value: object) -> str:
    """A name of a case: 10**400 has too many digits for a folder."""
    return repr(value)[:9]


def refused(file: str, classes=('cat', 'dog', 'owl')) -> str:
    """What is said of a file that is not valid, without its name."""
    with pytest.raises(InputError) as error:
        data_set(file, classes)
    message = str(error.value)
    assert '\n' not in message
    assert len(message) < len(file) + 250
    return message.removeprefix(f'{file} is not a valid COCO annotation file: ')


@pytest.mark.parametrize('number', [math.nan, math.inf, -math.inf, 10**400, 1e300], ids=short)
@pytest.mark.parametrize('place', range(4))
def test_a_box_with_a_number_that_is_not_finite_is_left_out_and_counted(
    tmp_path, said, number, place
):
    box = [10, 10, 20, 20]
    box[place] = number
    file = written(tmp_path, [annotation(9, box, area=9), [50, 50, 10, 10]])
    assert boxes_of(data_set(file)) == [[50, 50, 60, 60]]
    assert said == [f'{file}: boxes 1 with NaN or an infinite number (left out)']


def test_boxes_of_an_unknown_category_or_image_are_counted(tmp_path, said):
    boxes = [
        annotation(1, [10, 10, 20, 20], category_id=99),
        annotation(2, [10, 10, 20, 20], image_id=7),
        annotation(3, [10, 10, 20, 20], image_id=8),
        annotation(4, [50, 50, 10, 10]),
    ]
    file = written(tmp_path, boxes)
    dataset = data_set(file)
    assert boxes_of(dataset) == [[50, 50, 60, 60]]
    assert said == [
        f'{file}: boxes 1 of a category that the file lacks (left out), '
        '2 of an image that the file lacks (left out)'
    ]
    assert dataset.box_counts['of unknown images'] == 2


def test_every_box_of_the_file_is_counted_once(tmp_path, said):
    boxes = [
        annotation(i, box, **options)
        for i, (box, options) in enumerate(
            [
                ([50, 50, 10, 10], {}),
                ([-3, 10, 20, 20], {}),
                ([200, 10, 20, 20], {}),
                ([10, 10, 0, 20], {}),
                ([math.nan, 10, 20, 20], {}),
                ([10, 10, 20, 20], dict(ignore=1)),
                ([10, 10, 20, 20], dict(category_id=8)),
                ([10, 10, 20, 20], dict(category_id=99)),
                ([10, 10, 20, 20], dict(image_id=9)),
            ]
        )
    ]
    counts = data_set(written(tmp_path, boxes), ('cat', 'owl')).box_counts
    assert list(counts.values()) == [1] * 9


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(images=[image(), image(2), image(2)]), 'two images have the id 2'),
        (
            dict(annotations=[annotation(i, [1, 2, 30, 40]) for i in (5, 6, 6, 5)]),
            'two annotations have the id 6',
        ),
        (
            dict(categories=['cat', 'dog', 'cat']),
            "two categories have the name 'cat'",
        ),
    ],
    ids=['images', 'annotations', 'names'],
)
def test_a_repeated_id_or_name_is_refused_with_the_first_one(tmp_path, changes, message):
    assert refused(written(tmp_path, **changes)) == message


def test_a_repeated_id_of_categories_is_refused(tmp_path):
    file = written(tmp_path)
    content = json.loads(Path(file).read_text())
    content['categories'][2]['id'] = 8
    Path(file).write_text(json.dumps(content))
    assert refused(file) == 'two categories have the id 8'


@pytest.mark.parametrize('side', ['width', 'height'])
@pytest.mark.parametrize(
    'value', [-5, 0, 0.5, math.nan, math.inf, 10**400, '100', None, True], ids=short
)
def test_an_image_without_a_size_is_refused_with_its_id(tmp_path, side, value):
    message = refused(written(tmp_path, images=[image(), image(2, **{side: value})]))
    assert message.startswith(f"image 2 ('2.jpg') has the {side} {repr(value)[:50]}")


@pytest.mark.parametrize(
    'name',
    [
        'http://example.org/1.jpg',
        's3://bucket/1.jpg',
        '/etc/passwd',
        '../1.jpg',
        'a/../../1.jpg',
        'C:/1.jpg',
        '..\\1.jpg',
        '',
        'a\0.jpg',
        7,
        None,
    ],
)
def test_a_file_name_outside_the_image_folder_is_refused_with_its_image(tmp_path, name):
    message = refused(written(tmp_path, images=[image(), image(2, file_name=name)]))
    assert message.startswith(f'image 2 has the file name {name!r}')


def test_file_names_in_folders_of_the_image_folder_are_allowed(tmp_path):
    file = written(tmp_path, images=[image(file_name='a b/..c/1.2.jpg')])
    assert data_set(file).get_data_info(0)['img_path'] == 'a b/..c/1.2.jpg'


@pytest.mark.parametrize(
    'box', [[1, 2, 3], [1, 2, 3, '4'], [1, 2, 3, None], [1, 2, [3], 4], 'abcd', 7, {}]
)
def test_a_box_that_is_not_four_numbers_is_refused_with_its_annotation(tmp_path, box):
    entry = dict(id=17, image_id=1, category_id=7, bbox=box, area=9)
    assert refused(written(tmp_path, [entry])).startswith(f'annotation 17 has the bbox {box!r}')


def test_a_deeply_nested_file_is_refused_in_one_line(tmp_path):
    file = tmp_path / 'instances.json'
    file.write_text('{"images": ' + '[' * 100_000)
    assert refused(str(file)) == 'it is nested too deeply'


def test_a_deeply_nested_segmentation_is_refused_in_one_line(tmp_path):
    nested = written(tmp_path, [annotation(1, [10, 10, 20, 20], segmentation='here')])
    text = Path(nested).read_text()
    Path(nested).write_text(text.replace('"here"', '[' * 900 + ']' * 900))
    with pytest.raises(InputError, match='it is nested too deeply'):
        CheckedCocoDataset(
            ann_file=nested, data_prefix=dict(img=''), metainfo=dict(classes=CATEGORIES)
        )


def test_an_annotation_file_that_cannot_be_read_is_named(tmp_path):
    loop = tmp_path / 'instances.json'
    loop.symlink_to(loop)
    with pytest.raises(InputError, match=f'cannot read annotation file {loop}: '):
        data_set(str(loop))
    with pytest.raises(InputError, match=f'cannot read annotation file {tmp_path}: it is a folder'):
        data_set(str(tmp_path))
