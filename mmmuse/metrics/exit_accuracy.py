from collections.abc import Sequence
from typing import Literal

import torch
from mmengine.dist import is_distributed
from mmengine.evaluator import BaseMetric

from mmmuse.arguments import PositiveInt, PositiveInts
from mmmuse.errors import InputError
from mmmuse.registry import METRICS

from .untrained import refuse_untrained


@METRICS.register_module()
class ExitAccuracy(BaseMetric):
    """Top-k accuracy of every exit: ``exit1/top1``, ..., in percent.

    Use it beside mmpretrain's ``Accuracy``, which reports the student under its own name. The
    student is also reported as the last exit. A model without exits gives no metrics.

    Args:
        topk: The k of each accuracy.
        collect_device: Device on which results of several processes are gathered.
        prefix: Of the names; none by default.

    Raises:
        InputError: In an evaluation, if the exits were never trained or loaded, or an image has not
            one label.
    """

    default_prefix = ''

    def __init__(
        self,
        topk: PositiveInt | PositiveInts = (1,),
        collect_device: Literal['cpu', 'gpu'] = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.topk = (topk,) if isinstance(topk, int) else tuple(topk)

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Store, for each sample, which exits predict its label in their top k."""
        refuse_untrained('ExitAccuracy', data_samples)
        samples = [sample for sample in data_samples if 'exit_scores' in sample]
        if not samples:
            return
        exits = torch.stack([sample['exit_scores'] for sample in samples])
        last = torch.stack([sample['pred_score'] for sample in samples])
        labels = [sample.get('gt_label') for sample in samples]
        if any(label is None or label.numel() != 1 for label in labels):
            raise InputError(
                'ExitAccuracy needs one class label (gt_label) for each image; for several labels, '
                "use dict(type='mmmuse.ExitMetric', metric=...) with a multi-label metric"
            )
        target = torch.cat(labels)
        scores = torch.cat([exits, last[:, None]], 1)
        hits = scores.topk(max(self.topk), dim=-1).indices == target[:, None, None]
        self.results += list(torch.stack([hits[..., :k].any(-1) for k in self.topk], -1).cpu())

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return the accuracies over all samples; empty if the model has no exits."""
        if not results:
            return {}
        accuracy = 100 * torch.stack(results).double().mean(0)
        return {
            f'exit{i}/top{k}': value.item()
            for i, of_exit in enumerate(accuracy, 1)
            for k, value in zip(self.topk, of_exit, strict=True)
        }

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather and compute, without MMEngine's warning if the model has no exits."""
        if not self.results and not is_distributed():
            return {}
        return super().evaluate(size)
