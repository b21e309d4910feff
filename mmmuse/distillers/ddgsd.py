from torch import Tensor, nn

from mmmuse.arguments import NonNegativeFloat, PositiveFloat
from mmmuse.errors import InputError
from mmmuse.functional import linear_mmd_loss, symmetric_kl
from mmmuse.losses import single_labels
from mmmuse.registry import MODELS
from mmmuse.tapping.features import DistillFeatures

from .logits_distiller import LogitsDistiller


@MODELS.register_module()
class DDGSDDistiller(LogitsDistiller):
    r"""DDGSD: two augmentations of an image are to be seen alike.

    .. math::
        L = \tfrac{1}{2} \big[ CE(z^a) + CE(z^b) \big]
            + \lambda\, \tau^2 \big[ \mathrm{KL}(p^a \,\|\, p^b) + \mathrm{KL}(p^b \,\|\, p^a) \big]
            + \mu\, \Big\| \frac{1}{N} \sum_n f^a_n - \frac{1}{N} \sum_n f^b_n \Big\|_2^2

    A batch holds N images in one view and then the same N in another, as
    ``mmmuse.BatchedDataPreprocessor(num_views=2)`` makes them; one forward sees
    all 2 N. The student's own loss, a mean, is that of both views, and so are
    the head's losses. A critic's mismatched pairs may then be of two views of
    one image: none with ``negatives='roll'``, 1 of 2 N - 1 with ``'all'``.

    Args:
        student: Config of an mmpretrain classifier, or the built model.
        *args: Those of :class:`SelfDistiller`; ``taps.logits`` and ``taps.last``
            are needed.
        temperature: :math:`\tau > 0`; 4 is that of MUSE's other rivals. Assumed.
        kl_weight: :math:`\lambda`. Assumed.
        mean_weight: :math:`\mu`, of the distance of the two views' mean features.
        **kwargs: Those of :class:`SelfDistiller`.

    Raises:
        InputError: If the temperature is not above 0, ``taps.last`` is missing, the head has a margin,
            or a batch is not two views of the same images: odd, mixed (Mixup,
            CutMix), or, in the first batch, with other labels.

    Source: "Data-Distortion Guided Self-Distillation for Deep Neural Networks"
    (Xu and Liu, AAAI 2019).
    """

    def __init__(
        self,
        student: dict | nn.Module,
        *args,
        temperature: PositiveFloat = 4.0,
        kl_weight: NonNegativeFloat = 1.0,
        mean_weight: NonNegativeFloat = 5e-4,
        **kwargs,
    ) -> None:
        super().__init__(student, *args, **kwargs)
        if self.tapped.specs.kind == 'margin':
            raise InputError(
                'DDGSDDistiller compares class logits, and those of a margin head (ArcFaceClsHead) are '
                'shifted by the margin in training: take mmmuse.PSKDDistiller, or another head'
            )
        if self.tap_paths.last is None:
            raise InputError('DDGSDDistiller needs taps.last, the module of the last feature')
        self.temperature = temperature
        self.kl_weight = kl_weight
        self.mean_weight = mean_weight
        self._views_seen = False

    @property
    def label_readers(self) -> list[str]:
        """Names of what reads labels: this distiller, and losses."""
        return ['DDGSDDistiller', *super().label_readers]

    def own_losses(self, features: DistillFeatures, data_samples: list) -> dict[str, Tensor]:
        """Return ``loss_view_kl`` and ``loss_view_mean``."""
        kl = symmetric_kl(*features.logits.chunk(2), self.temperature)
        distance = linear_mmd_loss(*features.last_vector.chunk(2))
        return {
            'loss_view_kl': self.kl_weight * kl,
            'loss_view_mean': self.mean_weight * distance,
        }

    def check_batch(self, data_samples: list) -> None:
        """Refuse a batch that is too small, odd, mixed, or, if it is the first, of other views."""
        half, odd = divmod(len(data_samples), 2)
        self.check_batch_size(half + odd)
        self.refuse_mixed_images(data_samples)
        if not odd and self._views_seen:  # Looking at labels on a GPU waits for it.
            return
        if not odd:
            labels = single_labels(data_samples, 'DDGSDDistiller')
        if odd or (labels[:half] != labels[half:]).any():
            raise InputError(
                'DDGSDDistiller needs two views of each image, the second ones after the first: '
                "set data_preprocessor=dict(type='mmmuse.BatchedDataPreprocessor', num_views=2)"
            )
        self._views_seen = True
