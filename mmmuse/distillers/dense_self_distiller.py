from abc import abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, ClassVar

from mmengine.model import ModuleList
from torch import Tensor, nn

from mmmuse.errors import InputError
from mmmuse.tapping.backbone_outputs import output_paths
from mmmuse.tapping.features import DistillFeatures
from mmmuse.tapping.inferred import without_inferred
from mmmuse.tapping.token_maps import as_map

from .base import build_student
from .self_distiller import SelfDistiller

_BACKBONE = 'backbone.'


class DenseSelfDistiller(SelfDistiller):
    """Base of self-distillation with exits that predict boxes or masks, behind modules of a backbone.

    An exit reads the backbone's maps that exist when its module is done, and the module's feature. A
    subclass builds one exit, and returns its losses and predictions.

    Args:
        student: Config of the student, or the built one, which keeps its weights.
        taps: See :class:`mmmuse.distillers.SelfDistiller`.
        exit: Config of each exit.
        exit_modules: Numbers i of the shallow modules that have an exit, from 1; None for all.
        head: Config of the losses between features; None for exits only.
        **kwargs: Of :class:`mmmuse.distillers.SelfDistiller`.

    Raises:
        InputError: If there is no module of that number, or a subclass refuses the student.
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
        exit = deepcopy(dict(exit or {}))
        self.check_student(student, exit)
        self._outputs = []
        if self.reads_outputs(exit):
            shape = kwargs.get('input_shape')
            self._outputs = [
                _BACKBONE + path for path in output_paths(student.backbone, shape, of=student)
            ]
        super().__init__(student, taps, head=head, extra_taps=self._outputs, **kwargs)
        self.exit_modules = self._numbers(exit_modules)
        if '_scope_' in config:
            exit.setdefault('_scope_', config['_scope_'])
        shallow = self.tap_paths.shallow
        self.exits = ModuleList(
            self.build_exit(deepcopy(exit), config, shallow[number - 1])
            for number in self.exit_modules
        )
        self.exits.to(next(student.parameters()))

    def _numbers(self, exit_modules: Sequence[int] | None) -> tuple[int, ...]:
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
        return tuple(exit_modules)

    @abstractmethod
    def check_student(self, student: nn.Module, exit: dict) -> None:
        """Refuse a student that cannot have such exits, before it is run."""

    def reads_outputs(self, exit: dict) -> bool:
        """Whether an exit reads the maps of the backbone before it."""
        return True

    @abstractmethod
    def build_exit(self, exit: dict, config: dict, path: str) -> nn.Module:
        """Build the exit behind a module.

        Args:
            exit: Its config, a copy.
            config: Config of the student; empty if it was given built.
            path: Of the module.
        """

    @abstractmethod
    def exit_losses(
        self, exit: nn.Module, maps: list[Tensor], features: DistillFeatures, data_samples: list
    ) -> dict[str, Tensor]:
        """Return the losses of an exit.

        Args:
            exit: The exit.
            maps: That it reads; see :meth:`maps_of`.
            features: All features of the step.
            data_samples: N samples.
        """

    def with_maps(self, exit: dict, path: str) -> dict:
        """Return the config of an exit with what its neck has to know of the backbone's maps."""
        reached = self.reached_outputs(path)
        local = self.tap_specs[path]
        missing = [self.tap_specs[name] for name in self._outputs[len(reached) :]]
        inferred = dict(
            local_channels=local.channels,
            channels=[spec.channels for spec in missing],
            num_reached=len(reached),
        )
        strides = [max(round(local.grid[0] / spec.grid[0]), 1) for spec in missing]
        return {'strides': strides, **without_inferred(exit, 'exit', **inferred), **inferred}

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
        meta = data_samples[0].metainfo
        size = meta.get('batch_input_shape') or meta.get('pad_shape') or meta['img_shape']
        return {
            f'exit{number}.{name}': loss
            for number, exit in zip(self.exit_modules, self.exits, strict=True)
            for name, loss in self.exit_losses(
                exit, self.maps_of(features, number, size), features, data_samples
            ).items()
        }

    def maps_of(self, features: DistillFeatures, number: int, size: Sequence[int]) -> list[Tensor]:
        """Return the maps that an exit reads, its own feature last; tokens as maps.

        Args:
            features: Of the step.
            number: Of the exit's module.
            size: ``(H, W)`` of the images, with their padding.
        """
        path = self.tap_paths.shallow[number - 1]
        reached = self.reached_outputs(path)
        maps = [features.extra[output] for output in reached]
        return [
            as_map(feature, size, self.tap_specs[name].num_prefix_tokens)
            for name, feature in zip(
                (*reached, path), (*maps, features.shallow[number - 1]), strict=True
            )
        ]
