"""Masks that mmseg would read wrongly, and data loaders that have started already."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('mmseg')

from mmengine.registry import init_default_scope
from mmseg.datasets import BaseSegDataset
from torch.utils.data import DataLoader

from mmmuse.errors import InputError
from mmmuse.segmentation import CheckedMasksHook, LoadCheckedMask
from mmmuse.segmentation.checked_masks import check_files_match

CLASSES = [f'class {i}' for i in range(50)]


def write(folder, mask: np.ndarray, name: str = 'a') -> str:
    for part in ('images', 'masks'):
        (folder / part).mkdir(exist_ok=True)
    Image.fromarray(np.zeros((*mask.shape, 3), np.uint8)).save(folder / 'images' / f'{name}.jpg')
    suffix = 'tif' if mask.dtype in (np.int32, np.float32) else 'png'
    Image.fromarray(mask).save(folder / 'masks' / f'{name}.{suffix}')
    return str(folder / 'masks' / f'{name}.{suffix}')


def loaded(path: str, **options) -> np.ndarray:
    results = dict(seg_map_path=path, seg_fields=[], reduce_zero_label=False)
    return LoadCheckedMask(**options)(results)['gt_seg_map']


@pytest.mark.parametrize('dtype', [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize('classes', [50, None])
def test_values_that_8_bits_do_not_hold_are_refused(tmp_path, dtype, classes):
    path = write(tmp_path, np.array([[0, 256], [1, 300]], dtype))
    with pytest.raises(InputError, match=r'masks/a\.(png|tif) has the value 300(\.0)?, and mmseg'):
        loaded(path, num_classes=classes)


def test_fractions_are_refused(tmp_path):
    path = write(tmp_path, np.array([[0, 1.5]], np.float32))
    with pytest.raises(InputError, match=r'has the value 1\.5, and mmseg'):
        loaded(path)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.int32, np.float32])
def test_labels_that_8_bits_hold_are_read_from_any_depth(tmp_path, dtype):
    labels = [[0, 255], [1, 49]]
    assert loaded(write(tmp_path, np.array(labels, dtype)), num_classes=50).tolist() == labels


def test_a_truncated_mask_of_16_bits_is_named(tmp_path):
    path = Path(write(tmp_path, np.arange(4096, dtype=np.uint16).reshape(64, 64) % 50))
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match=r'^cannot read mask \S+masks/a\.png: '):
        loaded(str(path))


def data_set(folder, **options) -> BaseSegDataset:
    init_default_scope('mmseg')
    return BaseSegDataset(
        data_root=str(folder),
        data_prefix=dict(img_path='images', seg_map_path='masks'),
        metainfo=dict(classes=CLASSES),
        **options,
    )


def test_images_and_masks_in_linked_folders_match(tmp_path):
    for part, suffix in (('images', 'jpg'), ('masks', 'png')):
        (tmp_path / f'{part}_elsewhere').mkdir()
        (tmp_path / part).mkdir()
        (tmp_path / part / 'city').symlink_to(tmp_path / f'{part}_elsewhere')
        (tmp_path / part / 'city' / f'a.{suffix}').touch()
    dataset = data_set(tmp_path)
    assert len(dataset) == 1
    check_files_match('train', dataset)
    (tmp_path / 'masks' / 'city' / 'a.png').rename(tmp_path / 'masks' / 'city' / 'b.png')
    with pytest.raises(InputError, match='1 of 1 images have no mask'):
        check_files_match('train', dataset)


class Started:
    """An iterator like that of mmengine 0.10.7, which starts the workers when it is built."""

    def __init__(self, dataloader: DataLoader) -> None:
        self._iterator = iter(dataloader)

    def __next__(self):
        return next(self._iterator)


@pytest.mark.slow
@pytest.mark.parametrize(('workers', 'persist'), [(0, False), (1, False), (1, True)])
def test_masks_are_checked_by_workers_that_have_started_before(tmp_path, workers, persist):
    write(tmp_path, np.full((2, 2), 7, np.uint8))
    dataset = data_set(tmp_path, pipeline=[dict(type='LoadAnnotations')])
    loader = DataLoader(
        dataset, num_workers=workers, persistent_workers=persist, collate_fn=lambda batch: batch
    )
    runner = SimpleNamespace(
        train_dataloader=loader,
        train_loop=SimpleNamespace(dataloader_iterator=Started(loader)),
        val_loop=None,
    )
    dataset._metainfo['classes'] = CLASSES[:5]
    CheckedMasksHook().before_train(runner)
    with pytest.raises(InputError, match='has the label 7, and the 5 classes are 0 to 4'):
        next(runner.train_loop.dataloader_iterator)
