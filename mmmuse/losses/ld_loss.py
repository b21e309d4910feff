from typing import Literal

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from mmmuse.arguments import Fraction, NonNegativeFloat, PositiveFloat
from mmmuse.errors import InputError
from mmmuse.functional import localisation_distillation_loss
from mmmuse.registry import MODELS
from mmmuse.tapping.features import NetworkSpecs, Step
from mmmuse.tapping.valuable_boxes import WITH_THRESHOLDS, valuable_boxes

from .distill_loss import DistillLoss


@MODELS.register_module()
class LDLoss(DistillLoss):
    """Localisation distillation: the distribution of each side of a box is the teacher's.

    For heads that predict box sides as distributions (mmdet's ``GFLHead`` and its subclasses), of the
    same levels, anchors, classes and ``reg_max``. See
    :func:`mmmuse.functional.localisation_distillation_loss` for the formula.

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred.
        temperature: Above 0; 10 in the paper.
        region: Boxes that are compared. ``'positive'``: the paper's main region, those that the
            learner's own assignment gives to an object, with the learner's score as weight; it reads the
            labels, and assigns them a second time. ``'confident'``: all of them, with the teacher's
            score as weight, without labels (assumed).
        valuable_weight: Factor on a second term, relative to ``loss_weight``: the paper's valuable
            localisation region, with ``region='positive'`` only. 0 by default, which leaves it out; 1 is the
            paper's sum of both regions. See :func:`mmmuse.functional.valuable_region`. That the boxes of the
            main region are left out, that the weight of a box is the learner's score, and that each region is
            divided by the sum of its own weights is assumed.
        valuable_range: The paper's gamma, 0 to 1; the smaller, the larger the region. 0.25 in the paper.
        loss_weight: Factor on the loss; 0.25 in the public code, whose loss is a mean over the
            bins and is not divided by the sum of the weights. That 0.25 is right here too is assumed.

    Returns:
        ``loss_ld``, and ``loss_ld_valuable`` with a ``valuable_weight``.

    Raises:
        InputError: If a head has no distributions, the two have not the same bins, or a valuable region is
            asked for without labels, or of a head whose assigner has no threshold of overlaps.

    Source: "Localization Distillation for Dense Object Detection" (Zheng et al., CVPR 2022).
    """

    reads = frozenset({'head', 'boxes'})
    needs_two_networks = True

    def __init__(
        self,
        learner: NetworkSpecs,
        source: NetworkSpecs,
        temperature: PositiveFloat = 10.0,
        region: Literal['positive', 'confident'] = 'positive',
        valuable_weight: NonNegativeFloat = 0.0,
        valuable_range: Fraction = 0.25,
        loss_weight: NonNegativeFloat = 0.25,
    ) -> None:
        super().__init__(learner, source, loss_weight)
        for network, specs in (('student', learner), ('teacher', source)):
            if specs.head.reg_max is None:
                raise InputError(
                    f'LDLoss compares distributions of box sides, and the {specs.head.kind} of the '
                    f'{network} predicts none: use a GFLHead, or mmmuse.CrossKDLoss'
                )
        if learner.head.reg_max != source.head.reg_max:
            raise InputError(
                f'LDLoss compares distributions of box sides, and reg_max is {learner.head.reg_max} in '
                f'the {learner.head.kind} of the student and {source.head.reg_max} in the '
                f'{source.head.kind} of the teacher: set the same in both'
            )
        if valuable_weight and region != 'positive':
            raise InputError(
                f'LDLoss reads the labels for the valuable region, and region={region!r} is without labels: '
                "set region='positive' or leave valuable_weight out"
            )
        if valuable_weight and learner.head.assigner not in WITH_THRESHOLDS:
            raise InputError(
                'LDLoss needs, for the valuable region, the overlap above which an anchor is given to an object, '
                f'and the {learner.head.assigner} of the student has none: use an ATSSAssigner or a '
                'MaxIoUAssigner, or leave valuable_weight out'
            )
        self.temperature = temperature
        self.valuable_weight = valuable_weight
        self.valuable_range = valuable_range
        self.region = region
        self.bins = learner.head.reg_max + 1

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return ``loss_ld``, and ``loss_ld_valuable`` with a ``valuable_weight``."""
        own, other = step.learner.head, step.source.head
        pair = own.sides(self.bins), other.sides(self.bins)
        check_boxes(self.name, *pair)
        if self.region == 'confident':
            everywhere = torch.ones(pair[0].shape[:2], dtype=torch.bool, device=pair[0].device)
            return {'loss_ld': self._of_region(step, pair, other.confidence(), everywhere)}
        weights = own.confidence()
        chosen = own.positives(step.data_samples)
        losses = {'loss_ld': self._of_region(step, pair, weights, chosen)}
        if self.valuable_weight:
            chosen = valuable_boxes(own, step.data_samples, self.valuable_range)
            loss = self._of_region(step, pair, weights, chosen)
            losses['loss_ld_valuable'] = self.valuable_weight * loss
        return losses

    def _of_region(
        self, step: Step, pair: tuple[Tensor, Tensor], weights: Tensor, chosen: Tensor
    ) -> Tensor:
        """Return the loss of the chosen boxes ``(N, P)``."""
        weights = weights[chosen]
        sides = (of_network[chosen] for of_network in pair)
        loss = localisation_distillation_loss(*sides, weights, self.temperature, mean_sum(weights))
        return self.weight(step) * loss


def mean_sum(weights: Tensor) -> Tensor:
    """Return the sum of weights, averaged over the processes."""
    total = weights.sum()
    all_reduce(total, 'mean')
    return total


def check_boxes(name: str, own: Tensor, other: Tensor) -> None:
    """Refuse heads that have predicted other numbers of boxes.

    Raises:
        InputError: As the teacher's images have another size.
    """
    if own.shape[:2] != other.shape[:2]:
        raise InputError(
            f'{name} compares heads box by box, and they predict {own.shape[1]} and {other.shape[1]} '
            'boxes: leave teacher_input_size out'
        )
