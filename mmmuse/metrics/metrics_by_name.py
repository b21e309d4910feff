from abc import abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from typing import Annotated, Any, NoReturn

from mmengine.dist import all_gather_object
from mmengine.evaluator import BaseMetric, Evaluator

from mmmuse.arguments import Length

from .untrained import refuse_untrained


class MetricsByName(BaseMetric):
    """Base of metrics that evaluate several networks, each under its name: ``exit1/coco/bbox_mAP``.

    Each network has its own evaluator, which is built once and kept for later evaluations.
    In several processes every evaluator gathers its own results; a process without samples
    of a network takes part with none.

    Args:
        metric: Config of one metric or of several, which are built for each network.
    """

    default_prefix = ''

    def __init__(self, metric: dict | Annotated[Sequence[dict], Length(1)]) -> None:
        super().__init__()
        self.metric = [metric] if isinstance(metric, dict) else list(metric)
        self._evaluators: dict[str | None, Evaluator] = {}
        self._seen: set[str | None] = set()
        self._spare: Evaluator | None = self._build()  # Reports a bad config before training.

    @abstractmethod
    def samples_by_name(self, data_samples: Sequence[dict]) -> dict[str | None, list[dict]]:
        """Return each network's samples; those under None have metrics without a prefix."""

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Pass each network's samples to its evaluator."""
        refuse_untrained(type(self).__name__, data_samples)
        for name, samples in self.samples_by_name(data_samples).items():
            self._seen.add(name)
            self._evaluator(name).process(samples, data_batch)

    def evaluate(self, size: int) -> dict[str, Any]:
        """Return the metrics of all networks seen since the last evaluation.

        Args:
            size: Number of samples of the data set; padding of the last batches is dropped.
        """
        seen = all_gather_object(list(self._seen))
        self._seen.clear()
        # All processes must gather for the same names in the same order.
        names = sorted({name for of_process in seen for name in of_process}, key=str)
        return self.combine({name: self._evaluator(name).evaluate(size) for name in names})

    def combine(self, metrics: dict[str | None, dict[str, Any]]) -> dict[str, Any]:
        """Return one dict of the metrics of all networks."""
        return {
            key if name is None else f'{name}/{key}': value
            for name, of_network in metrics.items()
            for key, value in of_network.items()
        }

    def compute_metrics(self, results: list) -> NoReturn:
        """Not used: the evaluators compute."""
        raise NotImplementedError(f'{type(self).__name__} stores no results')

    def _evaluator(self, name: str | None) -> Evaluator:
        if name not in self._evaluators:
            self._evaluators[name] = self._spare or self._build()
            self._spare = None
        self._evaluators[name].dataset_meta = self.dataset_meta
        return self._evaluators[name]

    def _build(self) -> Evaluator:
        return Evaluator(deepcopy(self.metric))
