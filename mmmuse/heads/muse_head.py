import logging
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule, ModuleList
from torch import Tensor

from mmmuse.arguments import NonNegativeFloat, PositiveInt
from mmmuse.errors import InputError
from mmmuse.functional import global_view
from mmmuse.losses import DistillLoss, Edge, build_edge, build_logits_edge
from mmmuse.registry import MODELS
from mmmuse.tapping.features import DistillFeatures, FeatureSpec, NetworkSpecs, Step
from mmmuse.tapping.inferred import without_inferred
from mmmuse.tapping.logits_kind import is_multi_label


@MODELS.register_module()
class MUSEHead(BaseModule):
    r"""What self-distillation adds to a network's own loss.

    .. math::
        \sum_{i<T} \big[ w_{CE}\, CE(z_i) + w_{KD}\, KD(z_i, z_T) \big]
        + \text{discrepancies}

    :math:`z_i` are the logits of exit i: a classifier of its own on the pooled
    map of the neck. Any part can be left out; what is left out is not built.

    Args:
        specs: Shapes of the network's tapped features; inferred.
        num_classes: Classes of the exits; inferred from the tapped logits.
        exit: Config of the exits' classifier, a head of mmpretrain's; by
            default ``LinearClsHead`` with the student's own loss, so label
            smoothing and mixed targets work as in the student; ``MultiLabelLinearClsHead``
            for a multi-label student.
        kd: Config of the loss with which an exit's logits learn from the last ones, by default
            ``dict(type='mmmuse.KDLoss')`` (temperature 3), or ``mmmuse.BinaryKDLoss`` for a
            multi-label student. A margin head's logits are not imitated.
        discrepancy: Config, or a list of them, of the losses between features,
            e.g. ``dict(type='mmmuse.MUSELoss')``; None for none.
        ce_weight: :math:`w_{CE}`, 1 - alpha in BYOT's notation; 0 leaves it out.
            The paper does not give this; alpha = 0.1 is BYOT's.
        kd_weight: :math:`w_{KD}`, alpha. The paper does not give this.
        init_cfg: MMEngine's.

    Raises:
        InputError: If nothing at all is left to compute, the exits need class
            logits and none are tapped, or a discrepancy is unknown.

    Source: MUSE (Gong et al., BMVC 2021), sections 3.2 and 4.1; tables 5 and 6
    for the parts left out.
    """

    def __init__(
        self,
        specs: NetworkSpecs,
        num_classes: PositiveInt | None = None,
        exit: dict | None = None,
        kd: dict | None = None,
        discrepancy: dict | Sequence[dict] | None = None,
        ce_weight: NonNegativeFloat = 0.9,
        kd_weight: NonNegativeFloat = 0.1,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.ce_weight = ce_weight
        self.kd_weight = kd_weight
        classes = specs.num_classes if num_classes is None else num_classes
        self.kd = self._build_kd(kd or {}, 1 if classes is None else classes, specs.kind)
        if not ce_weight and any(loss.span for loss in self.kd):
            raise InputError(
                'with ce_weight=0 the exits learn from head.kd alone, so it has to count in the whole training: '
                'remove its epochs or iters, or set ce_weight above 0'
            )
        if self.kd and classes is not None and specs.logits is None:
            raise InputError(
                'distilling logits needs taps.logits, the module whose output they are'
            )
        self.exits = ModuleList()
        if ce_weight or self.kd_weight:
            if classes is None:
                raise InputError(
                    'exits need class logits: tap them (taps.logits) or leave the '
                    'exits out with ce_weight=0, kd_weight=0'
                )
            if specs.logits is not None and specs.logits.grid is not None:
                raise InputError(
                    'MUSEHead has exits of classifiers, and the tapped logits are those of pixels: '
                    'take mmmuse.SegmentationSelfDistiller for exits, and set ce_weight=0, kd_weight=0'
                )
            exit = {'type': 'mmpretrain.LinearClsHead', '_scope_': 'mmpretrain', **(exit or {})}
            inferred = dict(num_classes=classes, in_channels=specs.last.channels)
            exit = without_inferred(exit, 'head.exit', **inferred)
            for _ in specs.shallow:
                self.exits.append(MODELS.build(deepcopy(exit), default_args=inferred))
        self.multi_label = any(map(is_multi_label, self.exits))
        configs = [discrepancy] if isinstance(discrepancy, dict) else discrepancy or []
        self.discrepancies = build_edge(configs, specs, specs)
        if not self.exits and not self.discrepancies:
            raise InputError('MUSEHead has nothing to compute: no exits and no discrepancy')

    def _build_kd(self, kd: dict, classes: int, kind: str) -> Edge:
        logits = NetworkSpecs(logits=FeatureSpec(classes), kind=kind)
        if kind == 'margin':
            if self.kd_weight:
                print_log(
                    'the exits learn without KD: a margin head shifts its logits by the margin in '
                    'training',
                    logger='current',
                    level=logging.WARNING,
                )
                self.kd_weight = 0.0
            logits = replace(logits, kind='classes')
        name = 'BinaryKDLoss' if kind == 'labels' else 'KDLoss'
        # Where it is not used, its config is still checked.
        edge = build_logits_edge(
            {'type': f'mmmuse.{name}', **kd}, logits, replace(logits), 'head.kd'
        )
        return edge if self.kd_weight else Edge()

    @property
    def reads_exits(self) -> bool:
        """Whether anything here reads the neck's maps."""
        return bool(self.exits) or self.discrepancies.reads_exits

    @property
    def min_batch_size(self) -> int:
        """Images that the losses need in a batch."""
        return max(self.kd.min_batch_size, self.discrepancies.min_batch_size)

    @property
    def distill_losses(self) -> list[DistillLoss]:
        """All losses between two features or logits."""
        return [*self.kd, *self.discrepancies]

    def loss(self, features: DistillFeatures, data_samples: list) -> dict[str, Tensor]:
        """Return the losses of the exits by name; those of ``discrepancies`` are called apart.

        Args:
            features: The step's features, with the neck's maps if there are exits.
            data_samples: N samples with ``gt_label`` or ``gt_score``.

        Returns:
            ``exit{i}.loss_ce`` and ``exit{i}.loss_kd``, i from 1.

        Raises:
            InputError: If the number of features is not that of the exits.
        """
        losses = {}
        for i, (exit, logits) in enumerate(
            zip(self.exits, self.exit_logits(features), strict=True), 1
        ):
            if self.ce_weight:
                task = exit._get_loss(logits, data_samples)
                losses[f'exit{i}.loss_ce'] = self.ce_weight * task.pop('loss')
                losses.update({f'exit{i}.{name}': value for name, value in task.items()})
            if self.kd:
                step = Step(DistillFeatures(logits=logits), features, data_samples)
                for name, value in self.kd(step).items():
                    losses[f'exit{i}.{name}'] = self.kd_weight * value
        return losses

    def exit_logits(self, features: DistillFeatures) -> list[Tensor]:
        """Return the logits ``(N, K)`` of each exit."""
        if self.exits and len(features.exits) != len(self.exits):
            raise InputError(
                f'MUSEHead has {len(self.exits)} exits and the neck gave {len(features.exits)} maps'
            )
        return [self.one_exit(i, features.exits[i]) for i in range(len(self.exits))]

    def one_exit(self, index: int, exit_map: Tensor) -> Tensor:
        """Return the logits ``(N, K)`` of one exit, from its map ``(N, C_T, h, w)``."""
        return self.exits[index]((global_view(exit_map),))

    def predict(self, features: DistillFeatures, data_samples: list) -> list:
        """Add ``exit_scores`` ``(T - 1, K)`` to N samples.

        They are the softmax of each exit's logits, or their sigmoid if the exits are multi-label.
        """
        logits = torch.stack(self.exit_logits(features), 1)
        scores = logits.sigmoid() if self.multi_label else logits.softmax(-1)
        for data_sample, score in zip(data_samples, scores, strict=True):
            data_sample.set_field(score, 'exit_scores')
        return data_samples
