from collections import OrderedDict
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, NoReturn

from mmengine.dist import all_gather_object
from mmengine.evaluator import BaseMetric

from mmmuse.registry import METRICS

_SUFFIX = '_instances'


@METRICS.register_module()
class ExitDetectionMetric(BaseMetric):
    """A metric of detections for each exit: ``exit1/coco/bbox_mAP``, ...

    Stands beside the same metric of the whole detector, whose names stay its own.
    Samples without exits, those of a plain detector, give nothing.

    Args:
        metric: Config of one of mmdet's metrics, e.g. ``CocoMetric``.
    """

    default_prefix = ''

    def __init__(self, metric: dict) -> None:
        super().__init__()
        self.metric = dict(metric)
        self._metrics: dict[str, BaseMetric] = {}
        METRICS.build(deepcopy(self.metric))  # A bad config is known at once.

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Give each exit's metric that exit's boxes."""
        exits = sorted({key for sample in data_samples for key in sample if _is_of_exit(key)})
        for key in exits:
            samples = [{**sample, 'pred_instances': sample[key]} for sample in data_samples]
            self._metric(key.removesuffix(_SUFFIX)).process(data_batch, samples)

    def evaluate(self, size: int) -> dict[str, Any]:
        """Return each exit's metrics, and begin anew.

        Args:
            size: Samples of the whole data set.
        """
        # The same exits in the same order in every process, or their gatherings would not meet.
        names = sorted({name for seen in all_gather_object(list(self._metrics)) for name in seen})
        metrics = OrderedDict()
        for name in names:
            for key, value in self._metric(name).evaluate(size).items():
                metrics[f'{name}/{key}'] = value
        self._metrics.clear()
        return metrics

    def compute_metrics(self, results: list) -> NoReturn:
        """Refuse: the exits' metrics compute."""
        raise NotImplementedError('ExitDetectionMetric keeps no results of its own')

    def _metric(self, name: str) -> BaseMetric:
        if name not in self._metrics:
            self._metrics[name] = METRICS.build(deepcopy(self.metric))
            self._metrics[name].dataset_meta = self.dataset_meta
        return self._metrics[name]


def _is_of_exit(key: str) -> bool:
    return key.startswith('exit') and key.endswith(_SUFFIX)
