import re
from collections.abc import Sequence

from mmmuse.metrics.metrics_by_name import MetricsByName
from mmmuse.registry import METRICS

_OF_EXIT = re.compile(r'(exit\d+)_sem_seg')


@METRICS.register_module()
class ExitSegmentationMetric(MetricsByName):
    """A metric of masks for each exit: ``exit1/mIoU``, ...

    It is used with the same metric of the full segmenter, whose names are unchanged. Samples
    without exits, those of a plain segmenter, have no metrics.

    Args:
        metric: Config of one of mmseg's metrics, e.g. ``dict(type='IoUMetric')``.
    """

    def samples_by_name(self, data_samples: Sequence[dict]) -> dict[str, list[dict]]:
        """Return each exit's samples: its mask in place of the segmenter's."""
        keys = {key for sample in data_samples for key in sample if _OF_EXIT.fullmatch(key)}
        return {
            _OF_EXIT.fullmatch(key)[1]: [
                {**sample, 'pred_sem_seg': sample[key]} for sample in data_samples
            ]
            for key in keys
        }
