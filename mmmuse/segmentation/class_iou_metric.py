from mmseg.evaluation import IoUMetric

from mmmuse.registry import METRICS


@METRICS.register_module()
class ClassIoUMetric(IoUMetric):
    """mmseg's ``IoUMetric`` with the intersection over union of each class: ``IoU/cell``, ...

    mmseg prints these in a table and returns their mean only.

    Args:
        **options: Those of mmseg's ``IoUMetric``.
    """

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return mmseg's figures and those of the classes, in percent."""
        found = super().compute_metrics(results)
        metrics = {name: round(float(value), 2) for name, value in found.items()}
        if self.format_only:
            return metrics
        intersection, union = (sum(of_images) for of_images in list(zip(*results, strict=True))[:2])
        for name, value in zip(
            self.dataset_meta['classes'], (intersection / union).tolist(), strict=True
        ):
            metrics[f'IoU/{name}'] = round(100 * value, 2)
        return metrics
