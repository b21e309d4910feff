from mmdet.evaluation import CocoMetric

from mmmuse.registry import METRICS

_FIGURES = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')


@METRICS.register_module()
class ZeroCocoMetric(CocoMetric):
    """mmdet's ``CocoMetric``, for which a detector that finds nothing has a mAP of 0.

    mmdet's gives no figure then, and what waits for one (``save_best``) stops a
    training that has just begun.
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
