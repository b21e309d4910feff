from copy import deepcopy

from mmdet.models.detectors import SingleStageDetector
from torch import Tensor, nn

from mmmuse.distillers import DenseSelfDistiller
from mmmuse.errors import InputError
from mmmuse.registry import MODELS
from mmmuse.tapping.features import DistillFeatures

from .detection_exit import DetectionExit


@MODELS.register_module()
class DetectionSelfDistiller(DenseSelfDistiller):
    """Self-distillation of a detector whose modules have exits: a second neck and head each.

    The student is mmdet's own detector, and in a checkpoint its weights stand under
    its own names. In ``predict`` mode each data sample gets ``exit1_instances``, ...
    beside its ``pred_instances``. A detector without exits needs no more than
    :class:`mmmuse.distillers.SelfDistiller`.

    Args:
        student: Config of one of mmdet's single-stage detectors, or the built one, which keeps
            its weights.
        taps: See :class:`mmmuse.distillers.SelfDistiller`; without ``logits``.
        exit: Config of each exit, by default ``dict(type='mmmuse.DetectionExit')`` with the
            neck and head of the student's config. With a built student the config has to
            give both.
        exit_modules: Numbers i of the shallow modules that have an exit, from 1; None for all.
        head: Config of the losses between features, ``mmmuse.MUSEHead`` with
            ``ce_weight=0, kd_weight=0``; None for exits only.
        **kwargs: Of :class:`mmmuse.distillers.SelfDistiller`.

    Raises:
        InputError: If the detector has no dense head, or no module of that number.

    Source: MUSE (Gong et al., BMVC 2021), section 4.2.
    """

    def check_student(self, student: nn.Module, exit: dict) -> None:
        """Refuse a detector without a dense head."""
        if not isinstance(student, SingleStageDetector):
            raise InputError(
                f'an exit needs a detector with a dense head, a SingleStageDetector of mmdet; '
                f'{type(student).__name__} has none. Without exits take mmmuse.SelfDistiller'
            )

    def build_exit(self, exit: dict, config: dict, path: str) -> DetectionExit:
        """Build the exit behind a module, by default with the student's neck and head."""
        exit = {'type': 'mmmuse.DetectionExit', **exit}
        has_neck = getattr(self.student, 'with_neck', False)
        if not config and ('bbox_head' not in exit or (has_neck and 'neck' not in exit)):
            raise InputError(
                'the student is built already, so the exit has to say which neck and bbox_head '
                'it has: exit=dict(neck=..., bbox_head=...)'
            )
        exit.setdefault('neck', deepcopy(config.get('neck')))
        head = exit.setdefault('bbox_head', deepcopy(config.get('bbox_head')))
        for name in ('train_cfg', 'test_cfg'):
            head.setdefault(name, deepcopy(getattr(self.student, name, None)))
        return MODELS.build(self.with_maps(exit, path))

    def exit_losses(
        self,
        exit: DetectionExit,
        maps: list[Tensor],
        features: DistillFeatures,
        data_samples: list,
    ) -> dict[str, Tensor]:
        """Return the losses of the exit's head."""
        return exit.loss(maps, data_samples)

    def predict(self, inputs: Tensor, data_samples: list | None = None) -> list:
        """Return the student's predictions with those of the exits, ``exit1_instances``, ...

        Exits that were never trained or loaded are left out, with a warning.
        """
        if (why := self.added_weights.why_random(self, 'exits')) is not None:
            return self.added_weights.leave_out(
                why, self.student(inputs, data_samples, mode='predict')
            )
        with self.tapped:
            predictions = self.student(inputs, data_samples, mode='predict')
            features = self.collect(inputs.shape[2:])
        for number, exit in zip(self.exit_modules, self.exits, strict=True):
            maps = self.maps_of(features, number, inputs.shape[2:])
            for sample, of_image in zip(predictions, exit.predict(maps, predictions), strict=True):
                sample.set_field(of_image, f'exit{number}_instances')
        return predictions
