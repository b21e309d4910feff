"""One-line errors for masks that do not belong to their images or classes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image
from torch.utils.data import Dataset

from mmmuse.checkpoints.files_in_folder import files_in_folder
from mmmuse.datasets.image_header import MAX_PIXELS, why_no_image
from mmmuse.errors import InputError
from mmmuse.registry import HOOKS, TRANSFORMS


@TRANSFORMS.register_module()
class LoadCheckedMask(LoadAnnotations):
    """mmseg's ``LoadAnnotations`` with one-line errors for a mask that does not fit.

    Args:
        num_classes: Labels are 0 to ``num_classes - 1``; None for no check.
        ignore_index: One more label, which has no loss.
        **options: Those of mmseg's transform.

    Raises:
        InputError: If a mask cannot be read, has another size than its image or more than one
            channel, a label is outside the classes, or a local mask has a value outside 0 to 255.
    """

    def __init__(
        self, num_classes: int | None = None, ignore_index: int = 255, **options: Any
    ) -> None:
        super().__init__(**options)
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    def _load_seg_map(self, results: dict) -> None:
        path = results['seg_map_path']
        is_local = not self.backend_args and '://' not in str(path)
        why = why_no_image(path, MAX_PIXELS) if is_local else None
        if why is not None:
            raise InputError(f'cannot read mask {path}: {why}')
        if is_local:
            self._check_depth(path)
        try:
            super()._load_seg_map(results)
        except OSError as error:
            raise InputError(f'cannot read mask {path}: {error.strerror or error}') from error
        except (ValueError, cv2.error) as error:
            raise InputError(f'cannot read mask {path}: not an image') from error
        mask: np.ndarray = results['gt_seg_map']
        if mask.ndim != 2:
            raise InputError(
                f'mask {path} has {mask.shape[-1]} channels: a mask has one, the class of each pixel'
            )
        image = results.get('ori_shape')
        if image is not None and tuple(image[:2]) != mask.shape:
            raise InputError(
                f'mask {path} has {_size(mask.shape)} pixels and its image {results["img_path"]} '
                f'has {_size(image)}: they must be equal'
            )
        self._check_labels(path, mask)

    def _check_depth(self, path: str) -> None:
        """Refuse a value that does not fit into 8 bits, to which mmseg converts a mask."""
        try:
            with Image.open(path) as image:
                if image.mode not in ('I', 'F') and not image.mode.startswith('I;16'):
                    return
                values = np.asarray(image)
        except OSError as error:
            raise InputError(f'cannot read mask {path}: {error}') from error
        with np.errstate(invalid='ignore'):
            outside = values[values != values.astype(np.uint8)]
        if outside.size:
            raise InputError(
                f'mask {path} has the value {outside.max()}, and mmseg reads labels as 8-bit '
                'numbers, 0 to 255: fix the mask'
            )

    def _check_labels(self, path: str, mask: np.ndarray) -> None:
        if self.num_classes is None:
            return
        outside = (mask >= self.num_classes) & (mask != self.ignore_index)
        if outside.any():
            label = int(mask[outside].max())
            raise InputError(
                f'mask {path} has the label {label}, and the {self.num_classes} classes are 0 to '
                f'{self.num_classes - 1} ({self.ignore_index} is ignored): fix the mask, or '
                'set metainfo.classes and num_classes of the heads'
            )


@HOOKS.register_module()
class CheckedMasksHook(Hook):
    """Check images and masks of mmseg's data sets: the files before the first step, the masks when loaded.

    ``mmmuse train`` and ``mmmuse test`` add this hook for all segmenters of mmseg.

    Raises:
        InputError: If image and mask folder do not match; and see :class:`LoadCheckedMask`.
    """

    def before_train(self, runner: Runner) -> None:
        """Check the training and the validation data."""
        _check('train', runner.train_dataloader.dataset)
        restart_workers(runner)
        if runner.val_loop is not None:
            _check('val', runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        """Check the test data."""
        _check('test', runner.test_dataloader.dataset)


def restart_workers(runner: Runner) -> None:
    """Start the workers of the training data anew if they have the pipeline as it was before.

    The ``IterBasedTrainLoop`` of mmengine 0.10.7 starts them when it is built.
    """
    iterator = getattr(runner.train_loop, 'dataloader_iterator', None)
    loader = runner.train_dataloader
    if getattr(iterator, '_iterator', None) is None or not loader.num_workers:
        return
    loader._iterator = None  # Workers that persist are kept here.
    runner.train_loop.dataloader_iterator = type(iterator)(loader)


def _check(split: str, dataset: Dataset) -> None:
    for each in _data_sets(dataset):
        if each.backend_args is None:
            check_files_match(split, each)
        for transform in each.pipeline.transforms:
            if type(transform) is LoadAnnotations:
                transform.__class__ = LoadCheckedMask
                classes = each.metainfo.get('classes')
                transform.num_classes = len(classes) if classes else None
                transform.ignore_index = each.ignore_index


def _data_sets(dataset: Any) -> Iterator[BaseSegDataset]:
    """Yield the data sets of mmseg in one that may wrap others."""
    if isinstance(dataset, BaseSegDataset):
        yield dataset
        return
    for inner in (getattr(dataset, 'dataset', None), *(getattr(dataset, 'datasets', None) or ())):
        if inner is not None:
            yield from _data_sets(inner)


def check_files_match(split: str, dataset: BaseSegDataset) -> None:
    """Check that each image has a mask, and each mask of a folder that is read whole an image.

    Args:
        split: Of the data set, for messages.
        dataset: With its local files.

    Raises:
        InputError: If a file is missing, or there are no images.
    """
    images, masks = (dataset.data_prefix.get(key) for key in ('img_path', 'seg_map_path'))
    if not len(dataset):
        raise InputError(
            f'{split} data: no images (*{dataset.img_suffix}) in {images}: set img_suffix, '
            'data_prefix or ann_file'
        )
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    if masks is None or 'seg_map_path' not in infos[0]:
        return
    there = set(files_in_folder(masks, dataset.seg_map_suffix))
    missing = [info for info in infos if str(Path(info['seg_map_path'])) not in there]
    if missing:
        raise InputError(
            f'{split} data: {len(missing)} of {len(infos)} images have no mask in {masks}: '
            f'{missing[0]["img_path"]} needs {missing[0]["seg_map_path"]}'
        )
    if dataset.ann_file or dataset._indices is not None:
        return
    left = sorted(there - {str(Path(info['seg_map_path'])) for info in infos})
    if left:
        raise InputError(
            f'{split} data: {len(left)} masks in {masks} have no image in {images}: the first is '
            f'{left[0]}'
        )


def _size(shape: Any) -> str:
    return f'{shape[1]}x{shape[0]}'
