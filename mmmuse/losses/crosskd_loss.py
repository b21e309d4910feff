from typing import Literal

from torch import Tensor, nn
from torchvision.ops import generalized_box_iou_loss

from mmmuse.arguments import NonNegativeFloat, PositiveFloat, PositiveInt
from mmmuse.errors import InputError
from mmmuse.functional import localisation_distillation_loss, quality_focal_distance
from mmmuse.registry import MODELS
from mmmuse.tapping.dense_head import HeadPass
from mmmuse.tapping.features import NetworkSpecs, Step

from .dense_loss import Float32Projection
from .distill_loss import DistillLoss
from .ld_loss import check_boxes, mean_sum

Tower = Literal['cls_convs', 'reg_convs']


@MODELS.register_module()
class CrossKDLoss(DistillLoss):
    r"""CrossKD: features of the student's head pass the rest of the teacher's head.

    What comes out is compared with the teacher's own predictions, so that the student's predictions learn
    from the labels only.

    .. math::
        L = \frac{1}{\sum_p w_p} \Big[ \lambda_{cls} \sum_p d_{QFL}(\hat z_p, z^t_p)
            + \lambda_{box} \sum_p w_p\, d_{box}(\hat b_p, b^t_p) \Big]

    over all boxes p, with :math:`\hat z, \hat b` the predictions of the teacher's head on the
    student's features, :math:`w_p` the teacher's largest class score,
    :func:`mmmuse.functional.quality_focal_distance`, and for the boxes
    :func:`mmmuse.functional.localisation_distillation_loss` where sides are distributions
    (``GFLHead``), else 1 - GIoU. No labels are read.

    Both heads have towers of convolutions that their levels share (``cls_convs`` and ``reg_convs``:
    RetinaNet, ATSS, FCOS, GFL, ...). They have the same levels, anchors and classes. Where the channels
    differ, 1x1 convolutions map the student's to the teacher's (assumed).

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred.
        num_convs: Convolutions of each tower of the student that are kept; the rest are the teacher's. 3 of 4
            in the paper.
        cls_weight: :math:`\lambda_{cls}`.
        box_weight: :math:`\lambda_{box}`; by default 1 for boxes and 4 for distributions, as in the public
            code (as remembered: assumed).
        beta: Exponent of the quality focal loss.
        temperature: Of the distributions, above 0.
        loss_weight: Factor on both parts.

    Returns:
        ``loss_crosskd_cls`` and ``loss_crosskd_box``.

    Raises:
        InputError: If a head has no such towers or not so many convolutions, or its boxes cannot be
            decoded.

    Source: "CrossKD: Cross-Head Knowledge Distillation for Object Detection" (Wang et al., CVPR 2024),
    equations 3 to 5. That the classes are divided by the sum of the teacher's scores, and not by the number
    of positive anchors of the labels, is assumed.
    """

    reads = frozenset({'head'})
    needs_two_networks = True

    def __init__(
        self,
        learner: NetworkSpecs,
        source: NetworkSpecs,
        num_convs: PositiveInt = 3,
        cls_weight: NonNegativeFloat = 1.0,
        box_weight: NonNegativeFloat | None = None,
        beta: NonNegativeFloat = 1.0,
        temperature: PositiveFloat = 1.0,
        loss_weight: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__(learner, source, loss_weight)
        for network, specs in (('student', learner), ('teacher', source)):
            _check_towers(network, specs, num_convs)
        reg_max = source.head.reg_max
        if reg_max is None and not source.head.decodes:
            raise InputError(
                f'CrossKDLoss compares boxes in pixels, and how the {source.head.kind} of the teacher '
                'decodes its boxes is not known: take a RetinaNet, ATSS, FCOS or GFL, or a loss of '
                'features'
            )
        self.bins = None if reg_max is None else reg_max + 1
        self.cls_weight = cls_weight
        self.box_weight = (1.0 if reg_max is None else 4.0) if box_weight is None else box_weight
        self.beta = beta
        self.temperature = temperature
        self.head_modules = tuple(f'{tower}.{num_convs - 1}' for tower in learner.head.towers)
        self.projections = nn.ModuleDict()
        for tower, channels in learner.head.towers.items():
            pair = channels[num_convs - 1], source.head.towers[tower][num_convs - 1]
            if pair[0] != pair[1]:
                self.projections[tower] = Float32Projection(*pair)

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return ``loss_crosskd_cls`` and ``loss_crosskd_box``."""
        own, other = step.learner.head, step.source.head
        inner = {path: self._projected(path, own, other) for path in self.head_modules}
        crossed = other.run_with(inner)
        scores, target = crossed.class_scores(), other.class_scores()
        check_boxes(self.name, scores, target)
        weights = other.confidence()
        total = mean_sum(weights)
        distance = quality_focal_distance(scores, target, self.beta).sum()
        weight = self.weight(step)
        return {
            'loss_crosskd_cls': weight * self.cls_weight * distance / total,
            'loss_crosskd_box': weight
            * self.box_weight
            * self._box_loss(crossed, other, weights.flatten(), total),
        }

    def _projected(self, path: str, own: HeadPass, other: HeadPass) -> list[Tensor]:
        """Return the student's features for the teacher's head, in the teacher's type."""
        tower = path.split('.')[0]
        maps = own.inner[path]
        if tower in self.projections:
            maps = [self.projections[tower](level) for level in maps]
        return [level.to(other.maps[0].dtype) for level in maps]

    def _box_loss(
        self, crossed: HeadPass, other: HeadPass, weights: Tensor, total: Tensor
    ) -> Tensor:
        if self.bins is not None:
            pair = (x.sides(self.bins).flatten(0, 1) for x in (crossed, other))
            return localisation_distillation_loss(*pair, weights, self.temperature, total)
        boxes, target = (x.decoded().flatten(0, 1) for x in (crossed, other))
        distance = generalized_box_iou_loss(boxes, target.detach(), reduction='none')
        return (weights * distance).sum() / total


def _check_towers(network: str, specs: NetworkSpecs, num_convs: int) -> None:
    towers = specs.head.towers
    if not towers:
        raise InputError(
            f'CrossKDLoss reads the towers cls_convs and reg_convs that the levels of a head share, and '
            f'the {specs.head.kind} of the {network} has none: take a RetinaNet, ATSS, FCOS or '
            'GFL, or a loss of features'
        )
    shortest = min(map(len, towers.values()))
    if num_convs > shortest:
        raise InputError(
            f'CrossKDLoss: num_convs is at most {shortest}, the convolutions in a tower of the '
            f'{specs.head.kind} of the {network}, got {num_convs}'
        )
