from mmdet.evaluation import CocoMetric

from mmmuse.registry import METRICS

_FIGURES = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')


@METRICS.register_module()
class ZeroCocoMetric(CocoMetric):
    """mmdet's ``CocoMetric``, with a mAP of 0 for a detector that finds nothing.

    mmdet's returns no metrics then, so that ``save_best`` would stop a training that has just begun.
    """

    default_prefix = 'coco'

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return the figures of all images."""
        nothing = {
            f'{metric}_{name}': 0.0
            for metric in self.metrics
            if metric in ('bbox', 'segm')
            for name in _FIGURES
        }
        return super().compute_metrics(results) or nothing
