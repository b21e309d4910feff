from collections.abc import Sequence
from typing import Literal

from mmengine.evaluator import BaseMetric

from mmmuse.arguments import PositiveFloat
from mmmuse.registry import METRICS


@METRICS.register_module()
class ExitShares(BaseMetric):
    """Share of the images that take each exit of an ``EarlyExitClassifier``, and their average cost.

    ``exit1/share``, ... in percent; ``average_macs`` (multiply-adds for an image) and ``macs_share`` (in
    percent of the cost of an image that takes no early exit), if the costs are given.

    Args:
        num_exits: T, the full network included.
        costs: Multiply-adds of an image that takes each exit, T values; None if not known.
        collect_device: Device on which results of several processes are gathered.
        prefix: Of the names; none by default.
    """

    default_prefix = ''

    def __init__(
        self,
        num_exits: int,
        costs: Sequence[PositiveFloat] | None = None,
        collect_device: Literal['cpu', 'gpu'] = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.num_exits = num_exits
        self.costs = costs

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Store the exit of each sample."""
        self.results += [int(sample['exit']) for sample in data_samples]

    def compute_metrics(self, results: list[int]) -> dict[str, float]:
        """Return shares and costs over all samples."""
        shares = [results.count(i) / len(results) for i in range(1, self.num_exits + 1)]
        metrics = {f'exit{i}/share': 100 * share for i, share in enumerate(shares, 1)}
        if self.costs is not None:
            average = sum(share * cost for share, cost in zip(shares, self.costs, strict=True))
            metrics |= {'average_macs': average, 'macs_share': 100 * average / self.costs[-1]}
        return metrics
