import json
import logging
import os
import pickle
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from mmmuse.command_line.explain import explanation
from mmmuse.datasets import LoadCheckedImage, load_checked_image
from mmmuse.detection import CheckedCocoDataset
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


def write_header(path, width: int, height: int) -> None:
    """A PNG that says that it has this size, with hardly any data."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
        )

    header = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0))
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + header + chunk(b'IDAT', zlib.compress(bytes(100))))


def test_an_image_above_the_limit_is_refused_by_its_header(tmp_path, monkeypatch):
    path = tmp_path / 'a.png'
    write_header(path, 30000, 30000)
    monkeypatch.setattr('mmcv.imfrombytes', None)  # Nothing is decoded.
    with pytest.raises(InputError) as error:
        LoadCheckedImage()(dict(img_path=str(path)))
    assert str(error.value) == (
        f'cannot read image {path}: it has 30000x30000 pixels, and the limit is 100000000: '
        'set max_pixels of LoadCheckedImage'
    )
    assert LoadCheckedImage('skip')(dict(img_path=str(path))) is None


@pytest.mark.parametrize(('max_pixels', 'accepted'), [(48, True), (47, False)])
def test_a_config_sets_the_limit(tmp_path, max_pixels, accepted):
    write_image(tmp_path / 'a.png')  # 8 x 6 pixels.
    load = LoadCheckedImage(max_pixels=max_pixels)
    if accepted:
        assert load(dict(img_path=str(tmp_path / 'a.png')))['img'].shape == (6, 8, 3)
    else:
        with pytest.raises(InputError, match='it has 8x6 pixels, and the limit is 47'):
            load(dict(img_path=str(tmp_path / 'a.png')))


@pytest.mark.parametrize('max_pixels', [0, -1, 1e8, '100', True])
def test_a_limit_is_a_whole_number(max_pixels):
    with pytest.raises(InputError, match='max_pixels is an integer of at least 1, got'):
        LoadCheckedImage(max_pixels=max_pixels)


@pytest.mark.parametrize(
    ('make', 'why'),
    [
        (os.mkfifo, 'it is a FIFO, a device or a socket'),
        (lambda path: path.symlink_to('/dev/zero'), 'it is a FIFO, a device or a socket'),
        (lambda path: path.mkdir(), 'it is a folder'),
        (lambda path: path.symlink_to(path), 'Too many levels of symbolic links'),
    ],
)
def test_what_is_no_file_is_not_opened(tmp_path, make, why):
    make(tmp_path / 'a.png')
    with pytest.raises(InputError, match=f'{why}$'):
        LoadCheckedImage()(dict(img_path=str(tmp_path / 'a.png')))


def test_a_file_with_more_bytes_than_an_image_can_have_is_not_read(tmp_path):
    path = tmp_path / 'a.png'
    write_image(path)
    with path.open('ab') as file:
        file.truncate(2 * 10**9)  # Sparse: it takes no space.
    with pytest.raises(InputError, match='2000000000 bytes are too many for 100000000 pixels'):
        LoadCheckedImage()(dict(img_path=str(path)))


def test_the_limit_of_pillow_is_as_before(tmp_path):
    before = Image.MAX_IMAGE_PIXELS
    write_header(tmp_path / 'a.png', 30000, 30000)
    with pytest.raises(InputError):
        LoadCheckedImage()(dict(img_path=str(tmp_path / 'a.png')))
    assert before == Image.MAX_IMAGE_PIXELS


def test_ignore_empty_of_mmcv_is_kept(tmp_path):
    assert LoadCheckedImage(ignore_empty=True)(dict(img_path=str(tmp_path / 'a.png'))) is None


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


@pytest.mark.slow
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


@pytest.mark.slow
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
