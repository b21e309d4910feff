import logging
from collections import Counter
from math import inf
from typing import Any, Literal

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmengine.logging import print_log

from mmmuse.checkpoints.regular_file import NOT_FOUND, why_no_file
from mmmuse.errors import InputError
from mmmuse.registry import DATASETS

BoxKind = Literal['inside', 'beyond', 'outside', 'empty', 'ignored', 'of other classes']
_LOGGED: dict[BoxKind, str] = {
    'outside': 'outside their image (left out)',
    'empty': 'without an area (left out)',
    'beyond': 'reaching beyond their image',
}


class _CheckedCategories(COCO):
    """Checks that the class names are categories of the file, in the same order."""

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
    pixel), are outside their image or are not of a class of the data set. The log counts boxes
    without an area, boxes outside, and boxes that reach beyond their image, which are kept (to the
    right and below by more than the one pixel that some files add).

    Args:
        *args: Those of mmdet's ``CocoDataset``.
        **kwargs: Those of mmdet's ``CocoDataset``.

    Attributes:
        box_counts: Number of boxes of each :data:`BoxKind` in the annotation file.

    Raises:
        InputError: If the annotation file is missing or not a valid COCO file, or its
            categories are not the requested classes, in that order.
    """

    COCOAPI = _CheckedCategories

    def load_data_list(self) -> list[dict]:
        """Load the annotations."""
        self.box_counts: Counter[BoxKind] = Counter()
        why = None if '://' in self.ann_file else why_no_file(self.ann_file)
        if why not in (None, NOT_FOUND):
            raise InputError(f'cannot read annotation file {self.ann_file}: {why}')
        try:
            data_list = super().load_data_list()
        except InputError:
            raise
        except FileNotFoundError as error:
            raise InputError(f'annotation file not found: {self.ann_file}') from error
        except (ValueError, AssertionError, LookupError, TypeError, RecursionError) as error:
            raise InputError(
                f'{self.ann_file} is not a valid COCO annotation file: '
                f'{type(error).__name__}: {error}'
            ) from error
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
        kept = [each for each, kind in zip(annotations, kinds) if kind in ('inside', 'beyond')]
        return super().parse_data_info({**raw_data_info, 'raw_ann_info': kept})

    def _kind(self, annotation: dict, image: dict) -> BoxKind:
        x, y, width, height = annotation['bbox']
        right, bottom = x + width, y + height
        if annotation.get('ignore'):
            return 'ignored'
        if not (annotation.get('area', 1) > 0 and 1 <= width < inf and 1 <= height < inf):
            return 'empty'
        if right <= 0 or bottom <= 0 or x >= image['width'] or y >= image['height']:
            return 'outside'
        if annotation['category_id'] not in self.cat_ids:
            return 'of other classes'
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
