from collections.abc import Sequence
from copy import deepcopy
from typing import Any, ClassVar

from mmdet.models.detectors import SingleStageDetector
from mmengine.model import ModuleList
from torch import Tensor, nn

from mmmuse.distillers import SelfDistiller
from mmmuse.distillers.base import build_student
from mmmuse.errors import InputError
from mmmuse.registry import MODELS
from mmmuse.tapping.backbone_outputs import output_paths
from mmmuse.tapping.features import DistillFeatures
from mmmuse.tapping.inferred import without_inferred

from .detection_exit import DetectionExit

_BACKBONE = 'backbone.'


@MODELS.register_module()
class DetectionSelfDistiller(SelfDistiller):
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

    has_own_losses: ClassVar[bool] = True

    def __init__(
        self,
        student: dict | nn.Module,
        taps: dict | str,
        exit: dict | None = None,
        exit_modules: Sequence[int] | None = None,
        head: dict | None = None,
        **kwargs: Any,
    ) -> None:
        config = student if isinstance(student, dict) else {}
        student = build_student(
            deepcopy(student) if config else student, kwargs.pop('data_preprocessor', None)
        )
        _refuse_without_dense_head(student)
        shape = kwargs.get('input_shape')
        self._outputs = [_BACKBONE + path for path in output_paths(student.backbone, shape)]
        super().__init__(student, taps, head=head, extra_taps=self._outputs, **kwargs)
        shallow = self.tap_paths.shallow
        numbers = range(1, len(shallow) + 1)
        if exit_modules is None:
            exit_modules = list(numbers)
        if not len(exit_modules) or not set(exit_modules) <= set(numbers):
            raise InputError(
                f'exit_modules is a list of some of the modules 1 to {len(shallow)}, got {exit_modules}'
            )
        if len(set(exit_modules)) != len(exit_modules):
            raise InputError(f'exit_modules names a module twice: {list(exit_modules)}')
        self.exit_modules = tuple(exit_modules)
        self.exits = ModuleList(
            self._build_exit(exit or {}, config, shallow[number - 1])
            for number in self.exit_modules
        )
        self.exits.to(next(student.parameters()))

    def _build_exit(self, exit: dict, config: dict, path: str) -> DetectionExit:
        exit = {'type': 'mmmuse.DetectionExit', **deepcopy(dict(exit))}
        has_neck = getattr(self.student, 'with_neck', False)
        if not config and ('bbox_head' not in exit or (has_neck and 'neck' not in exit)):
            raise InputError(
                'the student is built already, so the exit has to say which neck and bbox_head '
                'it has: exit=dict(neck=..., bbox_head=...)'
            )
        if '_scope_' in config:
            exit.setdefault('_scope_', config['_scope_'])
        exit.setdefault('neck', deepcopy(config.get('neck')))
        head = exit.setdefault('bbox_head', deepcopy(config.get('bbox_head')))
        for name in ('train_cfg', 'test_cfg'):
            head.setdefault(name, deepcopy(getattr(self.student, name, None)))
        reached = self.reached_outputs(path)
        local = self.tap_specs[path]
        missing = [self.tap_specs[name] for name in self._outputs[len(reached) :]]
        inferred = dict(
            local_channels=local.channels,
            channels=[spec.channels for spec in missing],
            num_reached=len(reached),
        )
        strides = [max(round(local.grid[0] / spec.grid[0]), 1) for spec in missing]
        exit = without_inferred(exit, 'exit', **inferred)
        return MODELS.build({'strides': strides, **exit, **inferred})

    def reached_outputs(self, path: str) -> list[str]:
        """Return the paths of the backbone's outputs that exist when a module is done."""
        order = self.tapped.order
        reached = [order.index(output) <= order.index(path) for output in self._outputs]
        if reached != sorted(reached, reverse=True):
            raise InputError(
                f'the outputs of the backbone around {path!r} are in no order of depth'
            )
        return self._outputs[: sum(reached)]

    def own_losses(self, features: DistillFeatures, data_samples: list) -> dict[str, Tensor]:
        """Return the losses of each exit, ``exit1.loss_bbox``, ..."""
        return {
            f'exit{number}.{name}': loss
            for number, exit in zip(self.exit_modules, self.exits, strict=True)
            for name, loss in exit.loss(self._read(features, number), data_samples).items()
        }

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
            features = self.collect()
        for number, exit in zip(self.exit_modules, self.exits, strict=True):
            instances = exit.predict(self._read(features, number), predictions)
            for sample, of_image in zip(predictions, instances, strict=True):
                sample.set_field(of_image, f'exit{number}_instances')
        return predictions

    def _read(self, features: DistillFeatures, number: int) -> list[Tensor]:
        """Return the maps that an exit reads, its own feature last."""
        path = self.tap_paths.shallow[number - 1]
        maps = [features.extra[output] for output in self.reached_outputs(path)]
        return [*maps, features.shallow[number - 1]]


def _refuse_without_dense_head(student: nn.Module) -> None:
    if not isinstance(student, SingleStageDetector):
        raise InputError(
            f'an exit needs a detector with a dense head, a SingleStageDetector of mmdet; '
            f'{type(student).__name__} has none. Without exits take mmmuse.SelfDistiller'
        )
