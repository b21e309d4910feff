from collections.abc import Sequence

from mmmuse.metrics.metrics_by_name import MetricsByName
from mmmuse.registry import METRICS

_SUFFIX = '_instances'


@METRICS.register_module()
class ExitDetectionMetric(MetricsByName):
    """A metric of detections for each exit: ``exit1/coco/bbox_mAP``, ...

    It is used with the same metric of the full detector, whose names are unchanged. Samples
    without exits, those of a plain detector, have no metrics.

    Args:
        metric: Config of one of mmdet's metrics, e.g. ``CocoMetric``.
    """

    def samples_by_name(self, data_samples: Sequence[dict]) -> dict[str, list[dict]]:
        """Return each exit's samples: its boxes in place of the detector's."""
        keys = {key for sample in data_samples for key in sample if _is_of_exit(key)}
        return {
            key.removesuffix(_SUFFIX): [
                {**sample, 'pred_instances': sample[key]} for sample in data_samples
            ]
            for key in keys
        }


def _is_of_exit(key: str) -> bool:
    return key.startswith('exit') and key.endswith(_SUFFIX)
