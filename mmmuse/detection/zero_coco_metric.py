import logging
from typing import Any

from mmdet.datasets.api_wrappers import COCO
from mmdet.evaluation import CocoMetric
from mmengine.logging import print_log

from mmmuse.registry import METRICS

from .coco_errors import explained_coco_file
from .coco_structure import is_usable

_FIGURES = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')


@METRICS.register_module()
class ZeroCocoMetric(CocoMetric):
    """mmdet's ``CocoMetric``, with a mAP of 0 for a detector that finds nothing.

    mmdet's returns no metrics then, so that ``save_best`` would stop a training that has just begun.
    Boxes of the annotation file with NaN or infinite numbers, or of a category or an image that the
    file lacks, are not ground truth: no detection could match them. One line of the log counts them.

    Args:
        ann_file: COCO annotations.
        **options: Those of mmdet's ``CocoMetric``.

    Raises:
        InputError: If the annotation file cannot be read or is not a valid COCO file.
    """

    default_prefix = 'coco'

    def __init__(self, ann_file: str | None = None, **options: Any) -> None:
        super().__init__(None, **options)
        if ann_file is None:
            return
        with explained_coco_file(ann_file):
            # mmdet's constructor again, for the file only: errors in the options are not the file's.
            super().__init__(ann_file, **options)
            _leave_out_unusable(self._coco_api, ann_file)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return the figures of all images."""
        nothing = {
            f'{metric}_{name}': 0.0
            for metric in self.metrics
            if metric in ('bbox', 'segm')
            for name in _FIGURES
        }
        return super().compute_metrics(results) or nothing


def _leave_out_unusable(coco: COCO, path: str) -> None:
    annotations = coco.dataset.get('annotations', [])
    usable = [each for each in annotations if is_usable(each, coco.imgs, coco.cats)]
    if len(usable) == len(annotations):
        return
    print_log(
        f'{path}: {len(annotations) - len(usable)} boxes with NaN or an infinite number, or of a '
        'category or an image that the file lacks, are left out of the ground truth',
        logger='current',
        level=logging.WARNING,
    )
    coco.dataset['annotations'] = usable
    coco.createIndex()
    coco.img_ann_map, coco.cat_img_map = coco.imgToAnns, coco.catToImgs  # mmdet's names of these.
