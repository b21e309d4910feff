from typing import ClassVar

from torch import Tensor, nn

from mmmuse.arguments import NonNegativeFloat, PositiveFloat
from mmmuse.errors import InputError
from mmmuse.losses import single_labels
from mmmuse.registry import MODELS
from mmmuse.tapping.features import DistillFeatures, Step

from .logits_distiller import LogitsDistiller


@MODELS.register_module()
class CSKDDistiller(LogitsDistiller):
    r"""CS-KD: an image's logits imitate those of another image of its class.

    .. math::
        L = CE(z(x)) + w\, \tau^2\,
            \mathrm{KL}\big(\mathrm{softmax}(z(x') / \tau) \,\|\, \mathrm{softmax}(z(x) / \tau)\big)

    A batch holds pairs of one class side by side, :math:`x_0, x'_0, x_1, x'_1,
    \ldots`, as :class:`mmmuse.samplers.ClassPairSampler` draws them. The student's
    own loss and the head's are those of the first ones; the logits of the second
    ones come from a forward of their own, in training mode and without gradient.
    In ``predict`` mode nothing is paired.

    Args:
        student: Config of an mmpretrain classifier, or the built model.
        *args: Those of :class:`SelfDistiller`; ``taps.logits`` is needed.
        temperature: :math:`\tau > 0`.
        loss_weight: w.
        **kwargs: Those of :class:`SelfDistiller`.

    Raises:
        InputError: If the temperature is not above 0, a batch is odd or has mixed
            images (Mixup, CutMix), or the first batch holds a pair of two classes.

    Source: "Regularizing Class-wise Predictions via Self-knowledge Distillation"
    (Yun et al., CVPR 2020), equation 2.
    """

    reads_batch_order: ClassVar[bool] = True  # Pairs of one class.

    def __init__(
        self,
        student: dict | nn.Module,
        *args,
        temperature: PositiveFloat = 4.0,
        loss_weight: NonNegativeFloat = 1.0,
        **kwargs,
    ) -> None:
        super().__init__(student, *args, **kwargs)
        self.kd = self.build_kd(temperature, loss_weight)
        self._pairs_seen = False

    @property
    def min_batch_size(self) -> int:
        """Images that the losses need in a batch, both of a pair counted."""
        return 2 * super().min_batch_size

    @property
    def label_readers(self) -> list[str]:
        """Names of what reads labels: this distiller, and losses."""
        return ['CSKDDistiller', *super().label_readers]

    def step_losses(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Return the losses of N / 2 pairs, side by side in N images; ``loss_class_kd`` is added."""
        data_samples = data_samples[::2]
        losses, features = self.run_student(inputs[::2], data_samples)
        partners = DistillFeatures(logits=self.predict_logits(inputs[1::2]))
        own = {'loss_class_kd': self.kd(Step(features, partners))['loss_kd']}
        return self.with_added_losses(losses, features, data_samples, own)

    def check_batch(self, data_samples: list) -> None:
        """Refuse a batch that is too small, odd, mixed, or, if it is the first, of other pairs."""
        super().check_batch(data_samples)
        if len(data_samples) % 2:
            raise InputError(
                f'CSKDDistiller needs pairs of one class, got a batch of {len(data_samples)}: set '
                "train_dataloader.sampler.type='mmmuse.ClassPairSampler' and an even batch_size"
            )
        if self._pairs_seen:  # Looking at labels on a GPU waits for it: once is enough.
            return
        labels = single_labels(data_samples, 'CSKDDistiller')
        if (labels[::2] != labels[1::2]).any():
            raise InputError(
                'CSKDDistiller needs pairs of one class, got pairs of two: set '
                "train_dataloader.sampler.type='mmmuse.ClassPairSampler' and an even batch_size"
            )
        self._pairs_seen = True
