from collections.abc import Sequence
from copy import deepcopy
from math import isqrt
from typing import ClassVar

from torch import Tensor, nn

from mmmuse.arguments import ImageShape
from mmmuse.errors import InputError
from mmmuse.heads.variants import variant_parts
from mmmuse.losses import DistillLoss, add_terms
from mmmuse.losses.requirements import check_square
from mmmuse.registry import MODELS
from mmmuse.tapping.features import DistillFeatures, FeatureSpec, Step
from mmmuse.tapping.inferred import without_inferred
from mmmuse.tapping.tap_paths import TapPaths
from mmmuse.tapping.taps import FeatureTaps, TappedNetwork

from .base import BaseDistiller, task_scale
from .exit_classifier import check_has_classes, exit_config, loss_of
from .gradient_ratio import gradient_ratio
from .self_supervised import first_view, refuse_self_supervised


@MODELS.register_module()
class SelfDistiller(BaseDistiller):
    """Distil a network's last feature into its own earlier ones.

    One forward of the student; then ``taps -> neck -> head``. In ``predict``
    mode the student predicts and the exits add their scores to the same data
    samples. Channels, strides and classes of neck and head are inferred; where
    a config gives them they have to agree.

    Args:
        student: Config of any mmpretrain classifier (or other OpenMMLab model),
            or the built model, which keeps its weights.
        taps: ``dict(modules=[...], last=..., logits=...)``: paths of the shallow
            modules, of the module whose output is the last feature, and of the
            module whose output is the class logits (None without exits). Or
            ``'auto'``, or ``dict(num_modules=T)``, for the proposal that
            ``mmmuse wrap`` prints (T = 4 by default).
        head: Config of the added losses, ``mmmuse.MUSEHead``, or the name of one of
            :data:`mmmuse.heads.variants.VARIANTS`. A subclass that has losses of its
            own goes without one.
        neck: Config of the exits' bottlenecks, ``mmmuse.SelfDistillNeck``; None
            where the head has no exits.
        input_shape: ``(C, H, W)`` of the dry run that infers shapes.
        data_preprocessor: For the student, if its config has none.
        init_cfg: MMEngine's, for neck and head.
        extra_taps: More module paths that a subclass reads, in ``features.extra``;
            those of ``taps`` may be among them.

    Raises:
        InputError: If a tap is unusable, the taps are not in the order of the
            forward, or neck and head do not match them.

    Attributes:
        has_own_losses: Whether a subclass adds losses beside the head's, in
            :meth:`own_losses`.
        muse: The built ``head``, or None. ``head`` is the student's, as all of its attributes.
        adapters: The built ``neck``, or None.

    Source: MUSE (Gong et al., BMVC 2021), figure 1.
    """

    has_own_losses: ClassVar[bool] = False

    def __init__(
        self,
        student: dict | nn.Module,
        taps: dict | str,
        head: dict | str | None = None,
        neck: dict | None = None,
        input_shape: ImageShape | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        extra_taps: Sequence[str] = (),
    ) -> None:
        if head is None and not self.has_own_losses:
            raise InputError(f'{type(self).__name__} needs a head, the losses that it adds')
        if isinstance(head, str):
            head, neck = variant_parts(head, neck)
        super().__init__(student, data_preprocessor, init_cfg)
        refuse_self_supervised(self.student)
        self.tapped = TappedNetwork(
            self.student, taps, input_shape, needs_features=head is not None, extra=extra_taps
        )
        # Not "head" and "neck": in code and in paramwise_cfg.custom_keys they are the student's.
        self.muse = self.adapters = None
        self._exits_have_the_students_loss = False
        if head is not None:
            self.muse = self._build_head(head)
            self.adapters = self._build_neck(neck)
        elif neck is not None:
            raise InputError('the neck goes with a head: without one, set neck=None')
        self._shared_loss = (
            loss_of(self.student),
        )  # In a tuple: not a submodule of the distiller.
        for part in filter(None, (self.muse, self.adapters)):
            part.to(next(self.student.parameters()))  # Its device and type.

    def train(self, mode: bool = True) -> 'SelfDistiller':
        """Set the mode; let exits learn with a loss that a hook has given to the student."""
        (before,), now = self._shared_loss, loss_of(self.student)
        if now is not before:
            exits = self.muse.exits if self._exits_have_the_students_loss else ()
            for module in self.modules():
                if module in exits or module._modules.get('loss_module', self) is before:
                    module.loss_module = deepcopy(now)
            self._shared_loss = (now,)
        return super().train(mode)

    @property
    def tapped_networks(self) -> tuple[TappedNetwork, ...]:
        """The student with its taps."""
        return (self.tapped,)

    @property
    def taps(self) -> FeatureTaps:
        """The hooks on the student."""
        return self.tapped.taps

    @property
    def tap_paths(self) -> TapPaths:
        """The tapped module paths by role."""
        return self.tapped.paths

    @property
    def tap_specs(self) -> dict[str, FeatureSpec]:
        """The shape of each tapped module's output, by path."""
        return self.tapped.path_specs

    def _build_head(self, head: dict) -> nn.Module:
        specs = self.tapped.specs
        head = without_inferred(
            head,
            'head',
            local_channels=[spec.channels for spec in specs.shallow],
            last_channels=specs.last.channels,
            num_classes=specs.num_classes,
        )
        exit = head.get('exit') or {}
        self._exits_have_the_students_loss = 'loss' not in exit
        if isinstance(exit, dict):
            exit = exit_config(self.student, exit)
        built = MODELS.build({**head, 'exit': exit}, default_args=dict(specs=specs))
        if len(getattr(built, 'exits', ())):
            check_has_classes(self.student)
        return built

    def _build_neck(self, neck: dict | None) -> nn.Module | None:
        if neck is None:
            if not self.muse.reads_exits:
                return None
            raise InputError(
                'the head has exits and there is no neck: set '
                "neck=dict(type='mmmuse.SelfDistillNeck'), or ce_weight=0 and "
                'kd_weight=0 in the head'
            )
        specs = self.tapped.specs
        if self.muse.reads_exits and 'num_prefix_tokens' not in neck:
            for spec in specs.shallow:
                check_square('the neck', spec)
        inferred = dict(
            in_channels=[spec.channels for spec in specs.shallow],
            out_channels=specs.last.channels,
        )
        defaults = dict(
            strides=exit_strides(specs.shallow, specs.last),
            num_prefix_tokens=[spec.num_prefix_tokens for spec in specs.shallow],
        )
        neck = without_inferred(neck, 'neck', **inferred)
        neck = MODELS.build({**defaults, **neck, **inferred})
        _check_prefix_tokens(getattr(neck, 'num_prefix_tokens', ()), specs.shallow)
        # An unused neck has been checked, but its parameters would get no gradient.
        return neck if self.muse.reads_exits else None

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Return the student's losses and the head's, for N images.

        Raises:
            InputError: If the losses cannot be computed of this batch.
        """
        self.check_batch(data_samples)
        return self.step_losses(inputs, data_samples)

    def check_batch(self, data_samples: list) -> None:
        """Refuse a batch that the losses cannot be computed of.

        Raises:
            InputError: If it is smaller than a loss needs, or has mixed images (Mixup, CutMix)
                and a loss reads labels.
        """
        self.check_batch_size(len(data_samples))
        self.refuse_mixed_images(data_samples)

    def check_batch_size(self, number: int) -> None:
        """Refuse a number of images that is smaller than a loss needs."""
        if number < self.min_batch_size:
            raise InputError(
                f'a batch needs at least {self.min_batch_size} images, got {number}; if a last batch is '
                'left over, set drop_last=True of train_dataloader or of its batch_sampler'
            )

    def step_losses(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Return the losses of N images that have been checked."""
        losses, features = self.run_student(inputs, data_samples)
        own = self.own_losses(features, data_samples)
        return self.with_added_losses(losses, features, data_samples, own)

    def run_student(
        self, inputs: Tensor, data_samples: list
    ) -> tuple[dict[str, Tensor], DistillFeatures]:
        """Return the student's losses of N images, and the features of that forward."""
        with self.tapped:
            losses = super().loss(inputs, data_samples)
            return losses, self.collect(first_view(inputs).shape[2:])

    def own_losses(self, features: DistillFeatures, data_samples: list) -> dict[str, Tensor]:
        """Return what a subclass adds beside the head's losses: named scalars."""
        return {}

    def with_added_losses(
        self,
        losses: dict[str, Tensor],
        features: DistillFeatures,
        data_samples: list,
        own: dict[str, Tensor],
    ) -> dict[str, Tensor]:
        """Return all losses of a step.

        Args:
            losses: The student's.
            features: Of its forward.
            data_samples: N samples.
            own: What a subclass adds; the head's losses are added here.
        """
        added = dict(own)
        if self.muse is not None:
            scale = task_scale(self.student, data_samples)
            step = Step.within(features, data_samples, task_scale=scale)
            add_terms(added, self.muse.loss(features, data_samples))
            add_terms(added, self.muse.discrepancies(step))
        if self.records_gradient_ratio:
            added.update(gradient_ratio(features, losses, added))
        add_terms(losses, added)
        return losses

    @property
    def distill_losses(self) -> list[DistillLoss]:
        """All losses between two features."""
        return [] if self.muse is None else self.muse.distill_losses

    @property
    def min_batch_size(self) -> int:
        """Images that the losses need in a batch, as the data set gives it."""
        return 1 if self.muse is None else self.muse.min_batch_size

    def predict(self, inputs: Tensor, data_samples: list | None = None) -> list:
        """Return the student's predictions, with ``exit_scores`` where there are exits.

        Exits that were never trained or loaded are left out, with a warning.
        """
        if self.muse is None or not self.muse.exits:
            return super().predict(inputs, data_samples)
        if (why := self.added_weights.why_random(self, 'adapters', 'muse.exits')) is not None:
            return self.added_weights.leave_out(why, super().predict(inputs, data_samples))
        with self.tapped:
            predictions = super().predict(inputs, data_samples)
            features = self.collect(first_view(inputs).shape[2:])
        return self.muse.predict(features, predictions)

    def collect(self, size: Sequence[int] = (1, 1)) -> DistillFeatures:
        """Return the features of the forward just run inside ``with self.tapped:``.

        Args:
            size: ``(H, W)`` of the images. If they are not square, tokens become maps.
        """
        features = self.tapped.collect(size)
        if self.adapters is not None:
            features.exits = self.adapters(features.shallow)
        return features


def exit_strides(specs: Sequence[FeatureSpec], last: FeatureSpec) -> list[int]:
    """Return the stride from each shallow grid to the last one, or to the smallest if that is 1x1."""
    grids = [spec.grid for spec in specs if spec.grid]
    target = last.grid if last.grid not in (None, (1, 1)) else min(grids, default=(1, 1))
    return [max(round(spec.grid[0] / target[0]), 1) if spec.grid else 1 for spec in specs]


def _check_prefix_tokens(numbers: Sequence[int], specs: Sequence[FeatureSpec]) -> None:
    """Refuse numbers of prefix tokens that do not leave a square grid of the tapped features."""
    for number, spec in zip(numbers, specs, strict=False):  # Another neck may have none.
        height, width = spec.grid or (0, 0)
        rest = spec.num_prefix_tokens + height * width - number
        if number != spec.num_prefix_tokens and (rest < 1 or isqrt(rest) ** 2 != rest):
            raise InputError(
                f'neck.num_prefix_tokens is {list(numbers)} in the config, and '
                f'{[spec.num_prefix_tokens for spec in specs]} in the tapped features; leave it out '
                'to have it inferred'
            )
