from collections.abc import Sequence
from typing import Literal

from mmengine.evaluator import BaseMetric

from mmmuse.errors import InputError
from mmmuse.registry import METRICS


@METRICS.register_module()
class FeatureLossMetric(BaseMetric):
    """Mean loss of a ``FeatureDistiller`` on images that it was not trained on: ``feature_loss``.

    It needs no labels. ``save_best='feature_loss'`` keeps the checkpoint with the lowest.

    Args:
        collect_device: Device on which results of several processes are gathered.
        prefix: Of the name; none by default.

    Raises:
        InputError: In an evaluation of another model, or with MUSE as the only loss.
    """

    default_prefix = ''

    def __init__(
        self, collect_device: Literal['cpu', 'gpu'] = 'cpu', prefix: str | None = None
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Store the loss of each sample."""
        if any('feature_loss' not in sample for sample in data_samples):
            raise InputError(
                'FeatureLossMetric evaluates an mmmuse.FeatureDistiller with a loss that a single image '
                'has, such as mmmuse.VectorAlignmentLoss, and with its teacher, not a teacher_cache'
            )
        self.results += [float(sample['feature_loss']) for sample in data_samples]

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        """Return the mean over all samples."""
        return {'feature_loss': sum(results) / len(results)}
