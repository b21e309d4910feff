from torch import Tensor, nn

from mmmuse.arguments import NonNegativeFloat, PositiveFloat
from mmmuse.errors import InputError
from mmmuse.functional import attention_transfer_loss, global_view, map_view
from mmmuse.registry import MODELS
from mmmuse.tapping.features import DistillFeatures, Step
from mmmuse.tapping.inferred import without_inferred

from .logits_distiller import LogitsDistiller, classifier_losses


@MODELS.register_module()
class FRSKDDistiller(LogitsDistiller):
    r"""FRSKD: a feature pyramid on the network's own maps is its teacher.

    .. math::
        L = CE(z) + CE(z_t) + w\, \tau^2\, \mathrm{KL}\big(\mathrm{softmax}(z_t / \tau)
            \,\|\, \mathrm{softmax}(z / \tau)\big) + \beta \sum_i AT(F_i, T_i)

    The self-teacher refines the maps :math:`F_i` of ``taps.modules`` and
    ``taps.last`` to :math:`T_i` (:class:`mmmuse.necks.BiFPN`) and classifies the
    deepest one. It learns from its own cross-entropy only: what it teaches,
    :math:`z_t` and :math:`T_i`, is fixed for the student. AT is
    :func:`mmmuse.functional.attention_transfer_loss`; that it is summed over the
    maps is assumed.

    Args:
        student: Config of an mmpretrain classifier, or the built model.
        *args: Those of :class:`SelfDistiller`; ``taps`` names ``modules``,
            ``last`` and ``logits``.
        pyramid: More of the config of :class:`mmmuse.necks.BiFPN`, e.g. ``dict(width=1)``.
        temperature: :math:`\tau > 0`.
        kd_weight: w.
        attention_weight: :math:`\beta`.
        detach_features: Whether the self-teacher's cross-entropy is kept from the
            student. The paper does not give this; in its public code it trains
            the student's maps too.
        **kwargs: Those of :class:`SelfDistiller`.

    Raises:
        InputError: If the temperature is not above 0, the taps are not those, or
            one outputs a vector.

    Source: "Refine Myself by Teaching Myself: Feature Refinement via
    Self-Knowledge Distillation" (Ji et al., CVPR 2021), section 3.
    """

    def __init__(
        self,
        student: dict | nn.Module,
        *args,
        pyramid: dict | None = None,
        temperature: PositiveFloat = 4.0,
        kd_weight: NonNegativeFloat = 2.0,
        attention_weight: NonNegativeFloat = 100.0,
        detach_features: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(student, *args, **kwargs)
        self.kd = self.build_kd(temperature, kd_weight)
        self.attention_weight = attention_weight
        self.detach_features = detach_features
        channels = dict(in_channels=self._map_channels())
        pyramid = without_inferred(pyramid or {}, 'pyramid', **channels)
        self.pyramid = MODELS.build({'type': 'mmmuse.BiFPN', **pyramid, **channels})
        self.classifier = self.build_classifier(self.pyramid.out_channels[-1])
        for part in (self.pyramid, self.classifier):
            part.to(next(self.student.parameters()))

    def _map_channels(self) -> list[int]:
        if not self.tap_paths.shallow:
            raise InputError('FRSKDDistiller needs taps.modules and taps.last, the maps it refines')
        paths = [*self.tap_paths.shallow, self.tap_paths.last]
        for path in paths:
            if self.tap_specs[path].grid is None:
                raise InputError(
                    f'{path!r} outputs a vector, and FRSKDDistiller refines maps: tap a module '
                    'before the pooling'
                )
        return [self.tap_specs[path].channels for path in paths]

    def own_losses(self, features: DistillFeatures, data_samples: list) -> dict[str, Tensor]:
        """Return ``self_teacher.loss_ce``, ``loss_kd`` and ``loss_attention``."""
        maps = [map_view(feature) for feature in (*features.shallow, features.last)]
        refined = self.pyramid([map.detach() for map in maps] if self.detach_features else maps)
        logits = self.classifier((global_view(refined[-1]),))
        attention = sum(
            attention_transfer_loss(map, target) for map, target in zip(maps, refined, strict=True)
        )
        return {
            **classifier_losses('self_teacher', self.classifier, logits, data_samples),
            **self.kd(Step(features, DistillFeatures(logits=logits))),
            'loss_attention': self.attention_weight * attention,
        }
