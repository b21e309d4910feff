import json
import logging
import pickle

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader

from mmmuse.command_line.explain import explanation
from mmmuse.detection import CheckedCocoDataset, LoadCheckedImage, load_checked_image
from mmmuse.errors import InputError

BROKEN = {'no image': b'this is text', 'empty': b'', 'missing': None}


def write_image(path, shade: int = 50) -> np.ndarray:
    image = np.full((6, 8, 3), shade, dtype=np.uint8)
    assert cv2.imwrite(str(path), image)
    return image


def data_set(path, kind: str | None, unreadable: str, **options) -> CheckedCocoDataset:
    """Three images, the second of which cannot be read."""
    images = []
    for number in range(3):
        file = path / f'{number}.png'
        images.append(dict(id=number, file_name=file.name, width=8, height=6))
        if number == 1 and kind is not None:
            if BROKEN[kind] is not None:
                file.write_bytes(BROKEN[kind])
        else:
            write_image(file, 50 * number)
    content = dict(images=images, annotations=[], categories=[dict(id=1, name='cat')])
    (path / 'instances.json').write_text(json.dumps(content))
    return CheckedCocoDataset(
        ann_file=str(path / 'instances.json'),
        data_prefix=dict(img=str(path)),
        metainfo=dict(classes=('cat',)),
        filter_cfg=dict(filter_empty_gt=False),
        pipeline=[LoadCheckedImage(unreadable)],
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

    monkeypatch.setattr(load_checked_image, 'print_log', note)
    return lines


@pytest.mark.parametrize('unreadable', ['refuse', 'skip'])
def test_an_image_that_can_be_read_is_read(tmp_path, said, unreadable):
    image = write_image(tmp_path / 'a.png')
    results = LoadCheckedImage(unreadable)(dict(img_path=str(tmp_path / 'a.png')))
    assert np.array_equal(results['img'], image)
    assert results['img_shape'] == results['ori_shape'] == (6, 8)
    assert not said


@pytest.mark.parametrize(
    ('kind', 'why'),
    [('no image', 'not an image'), ('empty', 'not an image'), ('missing', 'file not found')],
)
def test_an_image_that_cannot_be_read_stops_with_its_name(tmp_path, kind, why):
    dataset = data_set(tmp_path, kind, 'refuse')
    with pytest.raises(InputError) as error:
        dataset[1]
    assert str(error.value) == f'cannot read image {tmp_path}/1.png: {why}'


def test_refusing_is_the_default(tmp_path):
    with pytest.raises(InputError, match='file not found'):
        LoadCheckedImage()(dict(img_path=str(tmp_path / 'a.png')))


@pytest.mark.parametrize('kind', BROKEN)
def test_a_skipped_image_is_replaced_by_another_and_counted(tmp_path, said, kind):
    dataset = data_set(tmp_path, kind, 'skip')
    for _ in range(2):
        assert dataset[1]['img_id'] in (0, 2)
    (line,) = said  # Once, however often it is met.
    assert line.startswith(f'cannot read image {tmp_path}/1.png: ')
    assert line.endswith('; skipped, 1 so far')


def test_workers_count_together(tmp_path):
    dataset = data_set(tmp_path, 'no image', 'skip')
    loader = DataLoader(dataset, batch_size=None, sampler=[1, 1, 1, 1], num_workers=2)
    assert {results['img_id'] for results in loader} <= {0, 2}
    assert int(dataset.pipeline.transforms[0]._skipped) == 2  # Once in each.


@pytest.mark.parametrize('kind', BROKEN)
def test_a_test_set_stops_all_the_same(tmp_path, said, kind):
    dataset = data_set(tmp_path, kind, 'skip', test_mode=True)
    assert dataset[0]['img_id'] == 0
    with pytest.raises(Exception, match='the pipeline drops image'):
        dataset[1]
    assert f'{tmp_path}/1.png' in said[0]


def test_a_workers_refusal_is_explained_in_one_line(tmp_path):
    loader = DataLoader(data_set(tmp_path, 'missing', 'refuse'), batch_size=None, num_workers=1)
    with pytest.raises(InputError) as error:
        list(loader)
    assert 'DataLoader worker' in str(error.value)
    assert explanation(error.value) == f'cannot read image {tmp_path}/1.png: file not found'


def test_that_a_test_set_stops_is_explained_in_one_line(tmp_path, said):
    dataset = data_set(tmp_path, 'missing', 'skip', test_mode=True)
    with pytest.raises(Exception, match=r'the pipeline drops image') as error:
        dataset[1]
    assert f'{tmp_path}/1.png' in (explanation(error.value) or '')


def test_the_transform_can_be_sent_to_a_worker_that_is_not_forked():
    assert pickle.loads(pickle.dumps(LoadCheckedImage('skip'))).unreadable == 'skip'


def test_another_choice_is_refused():
    with pytest.raises(InputError, match="unreadable is 'refuse' or 'skip', got 'ignore'"):
        LoadCheckedImage('ignore')
