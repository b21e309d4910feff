import re
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

from torch import Tensor, nn

from mmmuse.arguments import Fraction, NonNegativeFloat, PositiveFloat
from mmmuse.errors import InputError
from mmmuse.estimators import InformationEstimator
from mmmuse.functional import global_view
from mmmuse.registry import MODELS
from mmmuse.tapping.features import NetworkSpecs, Step
from mmmuse.tapping.inferred import without_inferred

from .distill_loss import FeatureLoss

Combine = Literal['multiplicative', 'additive', 'mi', 'si']
# What MUSELoss returns for the log only; of a peer a.mi_loss_1, of a second MUSELoss mi_loss_1_2.
INFORMATION_TERM = re.compile(r'^(\w+\.)?(mi|si)_loss_\d+(_\d+)?$')


@MODELS.register_module()
class MUSELoss(FeatureLoss):
    r"""MUSE: mutual information with the last feature, and self-information.

    For each shallow module i, with :math:`L^{JSD}` of equation 5,

    .. math::
        MI_i = L^{JSD}(F_i; f_T), \qquad SI_i = L^{JSD}(F_i; \mathrm{GAP}(F_i))

    and the loss is the sum over i of

    - ``multiplicative``: :math:`MI_i \cdot SI_i` (equation 6)
    - ``additive``: :math:`MI_i + SI_i` (equation 4)
    - ``mi``: :math:`MI_i` only (table 5)
    - ``si``: :math:`SI_i` only (table 5)

    The gradient runs through both factors and into both sides of each critic, unless
    ``detach_global`` says otherwise.
    Each module has critics of its own; only those that ``combine`` needs are
    built. Under autocast, softplus and means stay in float32.

    There are two weights. An estimate of information needs a trained critic, so the
    critics minimise ``critic_weight`` times the loss. The features receive ``loss_weight``
    times its gradient. Both at 1 are the literal reading of the paper's equations.

    Another ``estimator`` of information may take the place of :math:`L^{JSD}`.
    A sum then takes its losses as they are, a product their factors
    (:meth:`mmmuse.estimators.InformationEstimator.factor`), which are positive
    where a loss is not. The paper does not give this.

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred.
        combine: How MI and SI become one loss.
        loss_weight: Factor on the gradient that the features receive. The paper does
            not give this. Of 0.03, 0.1, 0.3 and 1 the first was best on held-out images
            (``docs/results/fitted.md``; three seeds of 0.03 and 0.1, one of the others). With ten times
            as many images of each class, 0.03 and 0.1 showed no difference (five seeds).
        critic_weight: Factor on the loss that the critics minimise, above 0. The paper
            does not give this.
        critic: Config of the critics, by default ``dict(type='mmmuse.GlobalLocalCritic')``.
        estimator: Config of the estimators, one per critic, by default
            ``dict(type='mmmuse.JensenShannon')``; there are ``mmmuse.InfoNCE``,
            ``mmmuse.DonskerVaradhan`` and ``mmmuse.NWJ`` too.
        warmup: Part of the training, 0 to 1, over which the features' weight rises
            linearly from 0 to ``loss_weight``, while the critics learn from the first
            step; 0 for none. The paper does not give this.
        modules: Modules whose features are the local maps, from 1; the shallow ones by
            default.
        detach_global: Critics whose global side receives no gradient: ``'mi'`` (the last
            feature), ``'si'`` (the maps' own averages). The paper does not give this.

    Returns:
        ``loss_muse`` (``critic_weight`` times the loss; its gradient on the features has
        the factor ``loss_weight`` instead), and for the log ``mi_loss_i`` and
        ``si_loss_i`` (the estimators' losses of module i, from 1, detached, without weights).

    Raises:
        InputError: On an unknown ``combine``, an ``estimator`` of another kind, critics for other
            channels, a weight or ``warmup`` out of its range, or a batch of one image.

    Source: MUSE (Gong et al., BMVC 2021), section 3.2. That SI's global side is
    the map's own average is assumed; the paper does not give this.
    """

    reads = frozenset({'vector'})
    module_by_module: ClassVar[bool] = False
    min_batch_size: ClassVar[int] = 2  # The negatives come from other images.

    def __init__(
        self,
        learner: NetworkSpecs,
        source: NetworkSpecs,
        combine: Combine = 'multiplicative',
        loss_weight: NonNegativeFloat = 0.03,
        critic_weight: PositiveFloat = 1.0,
        critic: dict | None = None,
        estimator: dict | None = None,
        warmup: Fraction = 0.0,
        modules: Sequence[int] | None = None,
        detach_global: Sequence[Literal['mi', 'si']] = (),
    ) -> None:
        super().__init__(
            learner, source, loss_weight, modules, critic_weight=critic_weight, warmup=warmup
        )
        self.combine = combine
        self.detach_global = frozenset(detach_global)
        critic = {'type': 'mmmuse.GlobalLocalCritic', **(critic or {})}
        estimator = {'type': 'mmmuse.JensenShannon', **(estimator or {})}
        self.mi_critics = nn.ModuleList()
        self.si_critics = nn.ModuleList()
        for local, last in zip(self.local_specs, self.target_specs, strict=True):
            if combine != 'si':
                self.mi_critics.append(_build_critic(critic, local.channels, last.channels))
            if combine != 'mi':
                self.si_critics.append(_build_critic(critic, local.channels, local.channels))
        self.mi_estimators = nn.ModuleList(_build_estimator(estimator) for _ in self.mi_critics)
        self.si_estimators = nn.ModuleList(_build_estimator(estimator) for _ in self.si_critics)

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return ``loss_muse`` and the information terms of one step."""
        local = [feature for feature, _ in self.pairs(step)]
        scale = self.feature_scale(step)
        views = {'mi': lambda _: step.source.last_vector, 'si': global_view}
        last, own = (
            _detached(view) if name in self.detach_global else view for name, view in views.items()
        )
        mi = _estimate(self.mi_estimators, self.mi_critics, local, last, scale)
        si = _estimate(self.si_estimators, self.si_critics, local, own, scale)
        if self.combine == 'multiplicative':
            total = sum(
                of_mi.factor(m) * of_si.factor(s)
                for of_mi, m, of_si, s in zip(
                    self.mi_estimators, mi, self.si_estimators, si, strict=True
                )
            )
        else:
            total = sum(mi) + sum(si)
        terms = {
            f'{name}_loss_{i}': value.detach()
            for name, values in (('mi', mi), ('si', si))
            for i, value in zip(self.modules, values, strict=False)  # No values without critics.
        }
        return {**terms, 'loss_muse': self.critic_weight * total}


def _detached(view: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda feature: view(feature).detach()


def _estimate(
    estimators: nn.ModuleList,
    critics: nn.ModuleList,
    local: Sequence[Tensor],
    global_of: Callable[[Tensor], Tensor],
    scale: float,
) -> list[Tensor]:
    """Return the loss of each module; nothing where ``combine`` has no such critics."""
    if not critics:
        return []
    return [
        estimator(critic, feature, global_of(feature), scale)
        for estimator, critic, feature in zip(estimators, critics, local, strict=True)
    ]


def _build_critic(critic: dict, local_channels: int, global_channels: int) -> nn.Module:
    channels = dict(local_channels=local_channels, global_channels=global_channels)
    return MODELS.build(
        without_inferred(critic, 'discrepancy.critic', **channels), default_args=channels
    )


def _build_estimator(config: dict) -> InformationEstimator:
    estimator = MODELS.build(config)
    if not isinstance(estimator, InformationEstimator):
        raise InputError(
            f'MUSELoss: estimator is an InformationEstimator, got {type(estimator).__name__}'
        )
    return estimator
