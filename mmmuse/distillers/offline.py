from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmmuse.arguments import ImageShape, PositiveInt
from mmmuse.compat.compiling import is_compiling
from mmmuse.errors import InputError
from mmmuse.losses import DistillLoss, Span, add_terms, build_edge, losses_of_phases
from mmmuse.registry import MODELS
from mmmuse.tapping.dense_head import HeadSpec, HeadTaps
from mmmuse.tapping.dry_run import network_kind
from mmmuse.tapping.features import DistillFeatures, Step
from mmmuse.tapping.loaded_order import ImageOrder

from .base import task_scale
from .build_teacher import TeacherConfig, build_teacher
from .channel_order import ChannelOrder
from .gradient_balance import LossBalance, build_balance
from .library_teacher import is_library
from .self_distiller import SelfDistiller
from .self_supervised import first_view
from .several_teachers import build_teachers, read_teachers, refuse_options_of_one
from .teacher_cache import TeacherCache, check_kind_for_cache
from .teacher_provenance import given_provenance


@MODELS.register_module()
class OfflineDistiller(SelfDistiller):
    r"""A student learns from a trained, frozen teacher.

    .. math:: L = L_{student} + \sum_l L_l(\text{student}, \text{teacher})

    The two may differ in everything that the losses do not compare: kind, size,
    normalisation, input size. In MUSE (``losses=[dict(type='mmmuse.MUSELoss')]``)
    :math:`f_T` is the teacher's last feature, the local maps and SI the student's own.

    The teacher is not a submodule. It is not in the optimizer, DDP, EMA or the
    checkpoint, stays in eval mode, and follows ``.to()``; a run that is resumed
    builds it again from its own file.

    Args:
        student: Config of the student, or the built model, which keeps its weights.
        teacher: Config of the teacher's model or its whole config, the path of its
            config file (relative to the config that names it, if ``mmmuse train``
            reads that) or ``'mmpretrain::...'``; a network of another library by its name,
            ``'timm::NAME'``, ``'transformers::NAME'`` or ``dict(name='timm::NAME', ...)`` with the
            arguments of :class:`mmmuse.teachers.TimmNetwork`; or the built model, with its weights.
            A list is several teachers: each as above, or ``dict(teacher=..., checkpoint=...,
            taps=..., input_size=..., channel_order=..., input_shape=..., image_order=...,
            losses=[...], weight=1.0, name='teacher1')``. Each has losses of its own, or ``losses``; its
            terms are logged under its name.
        taps: Of the student: ``dict(modules=[...], last=..., logits=...)``, ``'auto'``
            or ``dict(num_modules=T)``; see :class:`SelfDistiller`. What no loss reads
            may be left out.
        losses: Configs of the losses between the two: any
            :class:`mmmuse.losses.DistillLoss` that does not read exits (KD, CRD, DKD, MUSE, VID,
            AT, ...). A loss that compares modules takes ``modules=[2, 3, 4]``, tap 1 being
            the first. ``epochs=(0, 60)`` or ``iters=(0, 40000)`` has it count only in these.
        phases: In place of ``losses``, what is learnt one after the other, such as features before
            logits: ``[dict(epochs=60, losses=[...], task_loss=False), dict(losses=[...])]``; see
            :func:`mmmuse.losses.losses_of_phases`.
        loss_balance: ``'fixed'``, or ``'gradient'``: ``loss_weight`` of ``losses`` then is the length
            of the gradient relative to that of the student's own loss; see
            :class:`GradientBalance`, whose options ``dict(type='gradient', interval=50)`` gives.
        ensemble: ``'logits'`` for one edge from the mean of all teachers' logits; None for an edge
            from each teacher.
        teacher_checkpoint: File of the teacher's weights: saved by a distiller or
            plain; None for a built teacher, or for the weights that a name stands for.
        teacher_taps: Of the teacher; the paths of ``taps`` by default, of a network of another library
            its last ``map`` and its ``logits``.
        teacher_cache: Folder of ``mmmuse cache-teacher``, in place of
            ``teacher``: what the losses read of it, for fixed views. A ``teacher`` and
            ``teacher_checkpoint`` that are given have to be those of the cache.
        teacher_input_size: Height and width that the teacher sees; see
            :class:`InputConversion`. A network of another library is built for it.
        teacher_channel_order: ``'reversed'`` for a BGR teacher of an RGB student, or
            the other way round; ``'same'`` for two of one order. By default it is derived from
            both data preprocessors and from what the data pipelines load.
        teacher_input_shape: ``(C, H, W)`` of the teacher's dry run.
        trust_teacher: Load a teacher's file that holds more than weights; it may run code.
        head: Config of ``mmmuse.MUSEHead``, to distil the student into its own exits as
            well; none by default.
        neck: As for :class:`SelfDistiller`.
        input_shape: ``(C, H, W)`` of the student's dry run.
        image_order: Order of the channels that the data pipeline loads, ``'rgb'`` or ``'bgr'``;
            the commands fill it in from the config.
        teacher_image_order: Likewise, in the teacher's own training; by default that of its
            config, if it is a whole one.
        data_preprocessor: For the student, if its config has none.
        init_cfg: MMEngine's.

    Raises:
        InputError: If the teacher cannot be built, a loss cannot compare the two, or it cannot
            be known whether both read RGB.

    Source: MUSE (Gong et al., BMVC 2021), table 7(b).
    """

    has_own_losses = True

    def __init__(
        self,
        student: dict | nn.Module,
        teacher: dict | str | BaseModel | Sequence | None = None,
        taps: dict | str = 'auto',
        losses: Sequence[dict] = (),
        ensemble: Literal['logits'] | None = None,
        teacher_checkpoint: str | None = None,
        teacher_taps: dict | str | None = None,
        teacher_cache: str | None = None,
        teacher_input_size: PositiveInt | None = None,
        teacher_channel_order: ChannelOrder | None = None,
        teacher_input_shape: ImageShape | None = None,
        trust_teacher: bool = False,
        head: dict | None = None,
        neck: dict | None = None,
        input_shape: ImageShape | None = None,
        image_order: ImageOrder | None = None,
        teacher_image_order: ImageOrder | None = None,
        phases: Sequence[dict] = (),
        loss_balance: LossBalance = 'fixed',
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        several = isinstance(teacher, (list, tuple))
        needs_losses = not several or ensemble is not None
        if (losses and phases) or (needs_losses and not losses and not phases):
            raise InputError(
                "OfflineDistiller needs losses, a list such as [dict(type='mmmuse.KDLoss')], or phases"
            )
        self._without_task: list[Span] = []
        if phases:
            losses, self._without_task = losses_of_phases(phases)
        if ensemble is not None and not several:
            raise InputError(f'ensemble={ensemble!r} is for a list of teachers')
        super().__init__(student, taps, head, neck, input_shape, data_preprocessor, init_cfg)
        student = self.student
        specs = replace(self.tapped.specs, head=HeadSpec.of(student))
        if several:
            given = dict(
                teacher_checkpoint=teacher_checkpoint,
                teacher_taps=teacher_taps,
                teacher_cache=teacher_cache,
                teacher_input_size=teacher_input_size,
                teacher_channel_order=teacher_channel_order,
                teacher_input_shape=teacher_input_shape,
                teacher_image_order=teacher_image_order,
            )
            refuse_options_of_one(given)
            entries = read_teachers(teacher)
            self.teacher, self.losses = build_teachers(
                entries, student, specs, losses, ensemble, taps, image_order, trust_teacher
            )
        elif teacher_cache is not None:
            check_kind_for_cache(network_kind(student))
            own_taps = taps if teacher_taps is None and not is_library(teacher) else teacher_taps
            given = given_provenance(
                teacher, teacher_checkpoint, own_taps, teacher_input_size, teacher_channel_order
            )
            self.teacher = TeacherCache(teacher_cache, student.data_preprocessor, given)
            self.losses = build_edge(losses, specs, self.teacher.specs)
            self.teacher.check_holds(self.losses.source_features)
        elif teacher is None:
            raise InputError(
                'OfflineDistiller needs a teacher, or teacher_cache, a folder of its outputs'
            )
        else:
            config = TeacherConfig(
                teacher,
                teacher_checkpoint,
                teacher_taps,
                teacher_input_size,
                teacher_channel_order,
                teacher_input_shape,
                teacher_image_order,
            )
            self.teacher = build_teacher(config, student, taps, image_order, trust_teacher)
            self.losses = build_edge(losses, specs, self.teacher.specs)
            self.teacher.reads_head = self.losses.reads_head
        self.losses.to(next(student.parameters()))
        self.balance = build_balance(loss_balance, len(self.losses))
        self.head_taps = None
        if self.losses.reads_head:
            self.head_taps = HeadTaps(student, self.losses.head_modules)

    @property
    def distill_losses(self) -> list[DistillLoss]:
        """All losses between two features."""
        return [*super().distill_losses, *self.losses]

    @property
    def min_batch_size(self) -> int:
        """Images that the losses need in a batch."""
        return max(super().min_batch_size, self.losses.min_batch_size)

    @property
    def needs_labels(self) -> str:
        """Names of the losses, and of the cache, that have to see the training set's labels."""
        return names_that_need_labels([self.teacher, *self.losses])

    def prepare(self, labels: Tensor) -> None:
        """Show the training set's labels ``(M, )`` to the losses and the cache."""
        for part in (self.teacher, *self.losses):
            if part.needs_labels:
                part.prepare(labels)

    def run_student(
        self, inputs: Tensor, data_samples: list
    ) -> tuple[dict[str, Tensor], DistillFeatures]:
        """Return the student's losses of N images, and the features of that forward."""
        if self.head_taps is None:
            return super().run_student(inputs, data_samples)
        if not is_compiling():
            self.head_taps.follow(self.student)
        with self.head_taps:
            losses, features = super().run_student(inputs, data_samples)
            features.head = self.head_taps.pop()
        return losses, features

    def step_losses(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Return the losses of N images that have been checked."""
        source = self.teacher(first_view(inputs), data_samples)
        losses, features = self.run_student(inputs, data_samples)
        if any(span.is_now('phases') for span in self._without_task):
            losses = {name: value for name, value in losses.items() if 'loss' not in name}
        scale = task_scale(self.student, data_samples)
        own = self._edge_losses(Step(features, source, data_samples, task_scale=scale), losses)
        terms = self.with_added_losses(losses, features, data_samples, own)
        if not any('loss' in name for name in terms):
            raise InputError(
                'no loss counts in this step: phases, and losses with epochs or iters, have to cover the '
                'training where there is no loss of the student'
            )
        return terms

    def _edge_losses(self, step: Step, task: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the losses between the networks, balanced with the student's own, ``task``."""
        if self.balance is None:
            return self.losses(step)
        losses = list(self.losses)
        self.balance.set_factors(losses)
        terms = self.losses.by_loss(step)
        own: dict[str, Tensor] = {}
        for of_loss in terms:
            add_terms(own, of_loss)
        if self.training and torch.is_grad_enabled():
            weights = self.losses.weights(step)
            parameters = [value for value in self.student.parameters() if value.requires_grad]
            own |= self.balance.measure(losses, terms, task, weights, step.task_scale, parameters)
        return own

    def _apply(self, fn: Callable[[Tensor], Tensor], *args, **kwargs) -> 'OfflineDistiller':
        self.teacher.convert(fn)
        return super()._apply(fn, *args, **kwargs)


def names_that_need_labels(parts: Sequence[object]) -> str:
    """Return the class names of those parts that have to see the training set's labels."""
    return ', '.join(dict.fromkeys(type(part).__name__ for part in parts if part.needs_labels))
