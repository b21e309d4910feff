from typing import Literal

from mmengine.dist import all_reduce
from torch import Tensor

from mmmuse.arguments import NonNegativeFloat, PositiveFloat
from mmmuse.errors import InputError
from mmmuse.functional import localisation_distillation_loss
from mmmuse.registry import MODELS
from mmmuse.tapping.features import NetworkSpecs, Step

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
            score as weight, without labels (assumed). The paper's valuable region is not implemented.
        loss_weight: Factor on the loss; 0.25 in the public code, whose loss is a mean over the
            bins and is not divided by the sum of the weights. That 0.25 is right here too is assumed.

    Returns:
        ``loss_ld``.

    Raises:
        InputError: If a head has no distributions, or the two have not the same bins.

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
        self.temperature = temperature
        self.region = region
        self.bins = learner.head.reg_max + 1

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return ``loss_ld``."""
        own, other = step.learner.head, step.source.head
        pair = own.sides(self.bins), other.sides(self.bins)
        check_boxes(self.name, *pair)
        if self.region == 'positive':
            weights = own.confidence()
            chosen = own.positives(step.data_samples)
            weights, pair = weights[chosen], tuple(sides[chosen] for sides in pair)
        else:
            weights, pair = other.confidence().flatten(), tuple(x.flatten(0, 1) for x in pair)
        loss = localisation_distillation_loss(*pair, weights, self.temperature, mean_sum(weights))
        return {'loss_ld': self.weight(step) * loss}


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
