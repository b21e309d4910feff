from collections.abc import Sequence
from typing import Any

from mmmuse.registry import METRICS

from .metrics_by_name import MetricsByName


@METRICS.register_module()
class ExitMetric(MetricsByName):
    """Metrics of scores for each exit of a classifier: ``exit1/multi-label/mAP``, ...

    It is used with the same metrics of the student, whose names are unchanged. The student is also
    reported as the last exit. Samples without exits, those of a plain network, have no metrics.

    Args:
        metric: Config of one of mmpretrain's metrics, or of several, e.g.
            ``dict(type='AveragePrecision')``.
    """

    def samples_by_name(self, data_samples: Sequence[dict]) -> dict[str, list[dict]]:
        """Return each exit's samples: its scores in place of the student's."""
        of_exit: dict[str, list[dict]] = {}
        for sample in data_samples:
            if 'exit_scores' not in sample:
                continue
            truth = {key: value for key, value in sample.items() if key != 'pred_label'}
            scores: list[Any] = [*sample['exit_scores'], sample['pred_score']]
            for i, score in enumerate(scores, 1):
                of_exit.setdefault(f'exit{i}', []).append({**truth, 'pred_score': score})
        return of_exit
