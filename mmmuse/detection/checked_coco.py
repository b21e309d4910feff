import logging
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmengine.logging import print_log

from mmmuse.errors import InputError
from mmmuse.registry import DATASETS


class _CheckedCategories(COCO):
    """Refuses class names that are not the file's categories, in the file's order."""

    def get_cat_ids(self, cat_names: Any = (), **options: Any) -> list[int]:
        names = [category['name'] for category in self.dataset['categories']]
        asked = list(cat_names)
        if asked and [name for name in names if name in asked] != asked:
            raise InputError(
                f'the classes of the data set are {_some(asked)} and the categories of its '
                f'annotation file {_some(names)}: set metainfo.classes to those that are to be '
                'found, in the order of the file'
            )
        return super().get_cat_ids(cat_names=asked, **options)


@DATASETS.register_module()
class CheckedCocoDataset(CocoDataset):
    """mmdet's COCO data set that says in one line what is wrong with its annotation file.

    Boxes that lie outside their image or have no area are left out, as mmdet does,
    and counted in the log; so are boxes that reach beyond it (right and below by more than a
    pixel, which is how some files count), which stay.

    Args:
        *args: Of mmdet's ``CocoDataset``.
        **kwargs: Likewise.

    Raises:
        InputError: If there is no annotation file, it is none of COCO's, or its
            categories are not the classes that are asked for, in that order.
    """

    COCOAPI = _CheckedCategories

    def load_data_list(self) -> list[dict]:
        """Load the annotations."""
        self._outside = self._empty = self._beyond = 0
        try:
            data_list = super().load_data_list()
        except InputError:
            raise
        except FileNotFoundError as error:
            raise InputError(f'no annotation file {self.ann_file}') from error
        except (ValueError, AssertionError, LookupError, TypeError) as error:
            raise InputError(
                f'{self.ann_file} is no annotation file of COCO: {type(error).__name__}: {error}'
            ) from error
        if not data_list:
            raise InputError(f'{self.ann_file} holds no images')
        counts = {
            'outside their image (left out)': self._outside,
            'without an area (left out)': self._empty,
            'reaching beyond their image': self._beyond,
        }
        found = [f'{count} {what}' for what, count in counts.items() if count]
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
            raise InputError("the data set needs data_prefix=dict(img='...'), where its images are")
        image = raw_data_info['raw_img_info']
        for annotation in raw_data_info['raw_ann_info']:
            x, y, width, height = annotation['bbox']
            if annotation.get('area', 1) <= 0 or width < 1 or height < 1:
                self._empty += 1
            elif x + width <= 0 or y + height <= 0 or x >= image['width'] or y >= image['height']:
                self._outside += 1
            elif (
                min(x, y) < 0 or x + width > image['width'] + 1 or y + height > image['height'] + 1
            ):
                self._beyond += 1
        return super().parse_data_info(raw_data_info)

    def prepare_data(self, idx: int) -> dict | None:
        """Load an image; in a test set none is left out."""
        data = super().prepare_data(idx)
        if data is None and self.test_mode:
            raise InputError(
                f'image {self.get_data_info(idx)["img_path"]} is left out by the pipeline, and a test '
                "set's figures would change: mend the file, or take it out of the annotations"
            )
        return data


def _some(names: list[str]) -> str:
    shown = ', '.join(names[:5])
    return f'{shown}, ... ({len(names)})' if len(names) > 5 else shown
