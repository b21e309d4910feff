import logging
from collections import Counter
from functools import partial
from typing import Any, Literal

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmengine.logging import print_log

from mmmuse.errors import InputError
from mmmuse.registry import DATASETS

from .coco_errors import explained_coco_file, invalid_coco
from .coco_structure import check_structure, finite_box

BoxKind = Literal[
    'inside',
    'beyond',
    'outside',
    'empty',
    'not finite',
    'ignored',
    'of other classes',
    'of unknown categories',
    'of unknown images',
]
_LOGGED: dict[BoxKind, str] = {
    'outside': 'outside their image (left out)',
    'empty': 'without an area (left out)',
    'not finite': 'with NaN or an infinite number (left out)',
    'of unknown categories': 'of a category that the file lacks (left out)',
    'of unknown images': 'of an image that the file lacks (left out)',
    'beyond': 'reaching beyond their image',
}


class _CheckedFile(COCO):
    """Checks the content, and that the class names are its categories, in the same order."""

    def __init__(self, annotation_file: str, counts: 'Counter[BoxKind]') -> None:
        self._counts = counts
        super().__init__(annotation_file)

    def createIndex(self) -> None:  # noqa: N802 - pycocotools' name
        check_structure(self.dataset)
        images = {image['id'] for image in self.dataset['images']}
        self._counts['of unknown images'] += sum(
            annotation['image_id'] not in images for annotation in self.dataset['annotations']
        )
        super().createIndex()

    def get_cat_ids(self, cat_names: Any = (), **options: Any) -> list[int]:
        names = [category['name'] for category in self.dataset['categories']]
        asked = list(cat_names)
        if asked and [name for name in names if name in asked] != asked:
            raise InputError(
                f'the classes of the data set are {_some(asked)} and the categories of its '
                f'annotation file {_some(names)}: set metainfo.classes to the classes to '
                'detect, in the order of the file'
            )
        return super().get_cat_ids(cat_names=asked, **options)


@DATASETS.register_module()
class CheckedCocoDataset(CocoDataset):
    """mmdet's COCO data set with one-line errors for a bad annotation file.

    As in mmdet, boxes are left out that are marked as ignored, have no area (or a side below 1
    pixel), are outside their image or are not of a class of the data set; and those with NaN or
    infinite numbers, of an image or a category that the file lacks. One line of the log counts
    these, except what is marked as ignored or of a class that is not asked for, and boxes that
    reach beyond their image, which are kept (to the right and below by more than the one pixel
    that some files add). :class:`ZeroCocoMetric` leaves those with NaN or infinite numbers, of an
    image or a category that the file lacks out of the ground truth; mmdet's ``CocoMetric`` does not.

    Args:
        *args: Those of mmdet's ``CocoDataset``.
        **kwargs: Those of mmdet's ``CocoDataset``.

    Attributes:
        box_counts: Number of boxes of each :data:`BoxKind` in the annotation file.

    Raises:
        InputError: If the annotation file is missing or not a valid COCO file (an id is given
            twice, an image has no size, a file name leads out of the image folder), or its
            categories are not the requested classes, in that order.
    """

    def full_init(self) -> None:
        """Load, filter and serialize the annotations."""
        try:
            super().full_init()
        except RecursionError as error:  # Segmentations that cannot be serialized.
            raise invalid_coco(self.ann_file, 'it is nested too deeply') from error

    def load_data_list(self) -> list[dict]:
        """Load the annotations."""
        self.box_counts: Counter[BoxKind] = Counter()
        self.COCOAPI = partial(_CheckedFile, counts=self.box_counts)
        with explained_coco_file(self.ann_file):
            data_list = super().load_data_list()
        if not data_list:
            raise InputError(f'{self.ann_file} has no images')
        found = [
            f'{self.box_counts[kind]} {what}'
            for kind, what in _LOGGED.items()
            if self.box_counts[kind]
        ]
        if found:
            print_log(
                f'{self.ann_file}: boxes {", ".join(found)}',
                logger='current',
                level=logging.WARNING,
            )
        return data_list

    def parse_data_info(self, raw_data_info: dict) -> dict | list[dict]:
        """Read the annotations of one image."""
        if 'img' not in self.data_prefix:
            raise InputError("the data set needs data_prefix=dict(img='...'), its image folder")
        annotations = raw_data_info['raw_ann_info']
        kinds = [self._kind(each, raw_data_info['raw_img_info']) for each in annotations]
        self.box_counts.update(kinds)
        kept = [
            each
            for each, kind in zip(annotations, kinds, strict=True)
            if kind in ('inside', 'beyond')
        ]
        return super().parse_data_info({**raw_data_info, 'raw_ann_info': kept})

    def _kind(self, annotation: dict, image: dict) -> BoxKind:
        finite = finite_box(annotation)
        if annotation.get('ignore'):
            return 'ignored'
        if not finite:
            return 'not finite'
        x, y, width, height = annotation['bbox']
        right, bottom = x + width, y + height
        if not (annotation.get('area', 1) > 0 and width >= 1 and height >= 1):
            return 'empty'
        if right <= 0 or bottom <= 0 or x >= image['width'] or y >= image['height']:
            return 'outside'
        if annotation['category_id'] not in self.cat_ids:
            known = annotation['category_id'] in self.coco.cats
            return 'of other classes' if known else 'of unknown categories'
        if min(x, y) < 0 or right > image['width'] + 1 or bottom > image['height'] + 1:
            return 'beyond'
        return 'inside'

    def prepare_data(self, idx: int) -> dict | None:
        """Load an image; dropping one of a test set is an error."""
        data = super().prepare_data(idx)
        if data is None and self.test_mode:
            raise InputError(
                f'the pipeline drops image {self.get_data_info(idx)["img_path"]}, which would change '
                "the test set's figures: fix the file, or remove it from the annotations"
            )
        return data


def _some(names: list[str]) -> str:
    shown = ', '.join(names[:5])
    return f'{shown}, ... ({len(names)})' if len(names) > 5 else shown
