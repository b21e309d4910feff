from collections.abc import Sequence

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmmuse.arguments import ImageShape, PositiveInt
from mmmuse.errors import InputError
from mmmuse.losses import add_terms
from mmmuse.registry import MODELS
from mmmuse.tapping.backbone_outputs import last_output
from mmmuse.tapping.features import DistillFeatures, Step
from mmmuse.tapping.loaded_order import ImageOrder
from mmmuse.tapping.unused_parameters import unused_parameters

from .backbone_student import build_backbone
from .channel_order import ChannelOrder
from .gradient_balance import LossBalance
from .library_teacher import is_library
from .offline import OfflineDistiller
from .own_total import sum_of_losses
from .self_supervised import first_view
from .teacher_cache import TeacherCache

_LOSSES = (dict(type='mmmuse.MapAlignmentLoss'), dict(type='mmmuse.VectorAlignmentLoss'))


@MODELS.register_module()
class FeatureDistiller(OfflineDistiller):
    r"""A backbone learns a teacher's features from images without labels.

    .. math:: L = \frac{1}{V} \sum_v \sum_l L_l(\text{student}(x_v), \text{teacher}(x_v))

    Each image is seen in V views (mmpretrain's ``MultiView``), each by both networks. Nothing reads a
    label. The student is a plain mmpretrain model, ``ImageClassifier`` with a backbone and nothing
    else: its weights have the names ``backbone.*`` of any classifier, detector or segmenter, in
    which ``init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')`` reads them.
    Parameters that the features do not depend on are not trained.

    In ``predict`` mode each image gets ``feature_loss``, the sum of the losses of its batch that a single
    image has (not MUSE). Losses of other phases are included. It also gets ``feature``, the student's pooled vector; see
    :class:`mmmuse.metrics.FeatureLossMetric` and :class:`mmmuse.metrics.NearestNeighbourAccuracy`.

    Args:
        student: Config of a backbone, or of a classifier, detector or segmenter, of which the
            backbone is taken (also the path of its config, or ``'mmdet::folder/file.py'``); or a built
            backbone, which keeps its weights. Stages and normalisation that the config keeps
            frozen are trained here.
        teacher: As for :class:`OfflineDistiller`.
        losses: Configs of the losses between the two; by default
            ``mmmuse.MapAlignmentLoss`` and ``mmmuse.VectorAlignmentLoss``. ``mmmuse.MUSELoss`` needs
            ``taps.modules``.
        taps: Of the student: ``'last'`` for the last output of the backbone,
            ``dict(modules=[...])`` for modules before it as well, or what
            :class:`OfflineDistiller` takes.
        teacher_checkpoint: File of the teacher's weights; None for a built teacher, or for the weights
            that a name stands for.
        teacher_taps: Of the teacher: ``'last'``, the default of an OpenMMLab model,
            ``dict(last='neck')``, or those of a network of another library.
        teacher_cache: In place of the teacher, its stored outputs; one view in a step
            (``num_views=1``), since those of a cache are fixed.
        teacher_input_size: Height and width that the teacher sees.
        teacher_channel_order: ``'reversed'`` or ``'same'``; derived by default.
        teacher_input_shape: ``(C, H, W)`` of the teacher's dry run.
        trust_teacher: Load a teacher's file that holds more than weights; it may run code.
        input_shape: ``(C, H, W)`` of the student's dry run.
        image_order: As for :class:`OfflineDistiller`.
        teacher_image_order: As for :class:`OfflineDistiller`.
        phases: As for :class:`OfflineDistiller`; there is no loss of the student's own.
        loss_balance: As for :class:`OfflineDistiller`; the first loss is what the others are
            relative to, and each view counts as a step.
        data_preprocessor: ``mmpretrain.SelfSupDataPreprocessor`` by default, or
            ``mmmuse.BatchedDataPreprocessor(num_views=2)`` for batched images.
        init_cfg: MMEngine's.

    Raises:
        InputError: If the student has no backbone, a loss reads labels, or the two cannot be compared.
    """

    def __init__(
        self,
        student: dict | str | nn.Module,
        teacher: dict | str | BaseModel | None = None,
        losses: Sequence[dict] | None = None,
        taps: dict | str = 'last',
        teacher_checkpoint: str | None = None,
        teacher_taps: dict | str | None = None,
        teacher_cache: str | None = None,
        teacher_input_size: PositiveInt | None = None,
        teacher_channel_order: ChannelOrder | None = None,
        teacher_input_shape: ImageShape | None = None,
        trust_teacher: bool = False,
        input_shape: ImageShape | None = None,
        image_order: ImageOrder | None = None,
        teacher_image_order: ImageOrder | None = None,
        phases: Sequence[dict] = (),
        loss_balance: LossBalance = 'fixed',
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        network = build_backbone(student, data_preprocessor)
        if teacher_taps is None and not is_library(teacher):
            teacher_taps = 'last'
        if isinstance(taps, dict) and 'modules' in taps and 'last' not in taps:
            taps = {**taps, 'last': last_output(network, input_shape)}
        super().__init__(
            network,
            teacher,
            taps,
            (() if phases else _LOSSES) if losses is None else losses,
            teacher_checkpoint=teacher_checkpoint,
            teacher_taps=teacher_taps,
            teacher_cache=teacher_cache,
            teacher_input_size=teacher_input_size,
            teacher_channel_order=teacher_channel_order,
            teacher_input_shape=teacher_input_shape,
            trust_teacher=trust_teacher,
            input_shape=input_shape,
            image_order=image_order,
            teacher_image_order=teacher_image_order,
            phases=phases,
            loss_balance=loss_balance,
            init_cfg=init_cfg,
        )
        for loss in self.losses:
            if 'labels' in loss.reads or loss.needs_labels:
                raise InputError(
                    f'{loss.name} reads labels, and FeatureDistiller has none: leave it out, or take '
                    'mmmuse.OfflineDistiller'
                )
        _freeze_unused(network, unused_parameters(network, self.tapped.taps, input_shape))

    @property
    def records_gradient_ratio(self) -> bool:
        """False: there is no loss of the student's own to compare MUSE with."""
        return False

    def loss(self, inputs: Tensor | Sequence[Tensor], data_samples: list) -> dict[str, Tensor]:
        """Return the losses of N images, averaged over their views.

        Args:
            inputs: V views ``(N, C, H, W)``, or one; with ``num_views`` of the data preprocessor
                ``(V * N, C, H, W)``, view by view.
            data_samples: Of the N, or V * N, images.
        """
        totals: dict[str, Tensor] = {}
        views = self._views(inputs, data_samples)
        for view, samples in views:
            for name, value in super().loss(view, samples).items():
                totals[name] = totals[name] + value if name in totals else value
        return {name: value / len(views) for name, value in totals.items()}

    def _views(
        self, inputs: Tensor | Sequence[Tensor], data_samples: list
    ) -> list[tuple[Tensor, list]]:
        if not isinstance(inputs, Tensor):
            return [(view, data_samples) for view in inputs]
        number = getattr(self.data_preprocessor, 'num_views', 1) if self.training else 1
        size = len(inputs) // number
        samples = [data_samples[i * size : (i + 1) * size] for i in range(number)]
        return list(zip(inputs.split(size), samples, strict=True))

    def run_student(
        self, inputs: Tensor, data_samples: list
    ) -> tuple[dict[str, Tensor], DistillFeatures]:
        """Return no losses of the student's own, and the features of its forward."""
        with self.tapped:
            self.student(inputs, mode='tensor')
            return {}, self.collect(inputs.shape[2:])

    def predict(
        self, inputs: Tensor | Sequence[Tensor], data_samples: list | None = None
    ) -> list[DataSample]:
        """Return N samples with ``feature_loss`` and ``feature`` ``(C, )``, of the first view.

        With ``teacher_cache`` there is no ``feature_loss``: the cache is of the training set.
        """
        inputs = first_view(inputs)
        samples = data_samples or [DataSample() for _ in inputs]
        _, features = self.run_student(inputs, samples)
        for sample, vector in zip(samples, features.last_vector.float(), strict=True):
            sample.set_field(vector, 'feature', dtype=Tensor)
        if isinstance(self.teacher, TeacherCache):
            return samples
        step = Step(features, self.teacher(inputs, samples), samples)
        terms: dict[str, Tensor] = {}
        for loss in self.losses:
            if loss.min_batch_size == 1:
                add_terms(terms, loss(step))
        total = torch.as_tensor(sum_of_losses(terms))
        if terms:
            for sample in samples:
                sample.set_field(total, 'feature_loss', dtype=Tensor)
        return samples


def _freeze_unused(network: nn.Module, unused: dict[str, nn.Parameter]) -> None:
    if not unused:
        return
    for parameter in unused.values():
        parameter.requires_grad_(False)
    names = ', '.join(list(unused)[:3]) + (', ...' if len(unused) > 3 else '')
    print_log(
        f'{len(unused)} parameters of the student are not trained, because the features do not depend '
        f'on them: {names}',
        logger='current',
    )
