from collections.abc import Callable

import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmmuse.arguments import Fraction
from mmmuse.compat.compiling import not_compiled
from mmmuse.errors import InputError
from mmmuse.functional.precision import at_least_float32
from mmmuse.losses import class_labels
from mmmuse.registry import MODELS
from mmmuse.tapping.progress import training_epoch

from .frozen_network import FrozenNetwork
from .logits_distiller import LogitsDistiller


@MODELS.register_module()
class PSKDDistiller(LogitsDistiller):
    r"""PS-KD: the targets are softened by what the network said one epoch ago.

    .. math::
        y'_t = (1 - a_t)\, y + a_t\, p_{t-1}(x), \quad a_t = a_T\, t / T

    in epoch t of T, with :math:`p_{t-1}` the softmax of the network as it was at
    the end of the epoch before, and y the label or, where an augmentation has
    mixed them, the scores. The student learns with its own loss from these
    targets, and so do the exits of a head. In the first epoch there is no epoch
    before, and the targets are y, as in the method's public code.

    The network of the epoch before is a copy that is taken at the start of each
    epoch, and no part of the checkpoint: a run that is resumed between two epochs
    takes the same copy from the student's own weights, so it goes on as if it had
    not been interrupted.

    Args:
        student: Config of an mmpretrain classifier, or the built model.
        *args: Those of :class:`SelfDistiller`; ``taps.logits`` is needed.
        final_weight: :math:`a_T`, 0 to 1, that of the last epoch.
        copy_in_training_mode: Whether the copy predicts with the statistics of
            the batch. The paper does not give this: its public code keeps what
            the network output while it trained through the epoch before.
        **kwargs: Those of :class:`SelfDistiller`.

    Raises:
        InputError: If the weight is not in 0 to 1, the student's head computes an
            accuracy while it trains (``cal_acc``), or, when it trains, where
            nothing counts epochs: outside of MMEngine's runner, in its
            iteration-based loop, or in a run of one epoch.

    Source: "Self-Knowledge Distillation with Progressive Refinement of Targets"
    (Kim et al., ICCV 2021).
    """

    def __init__(
        self,
        student: dict | nn.Module,
        *args,
        final_weight: Fraction = 0.8,
        copy_in_training_mode: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(student, *args, **kwargs)
        if getattr(getattr(self.student, 'head', None), 'cal_acc', False):
            raise InputError(
                'PSKDDistiller mixes the targets, of which no accuracy can be computed while it '
                'trains: set student.head.cal_acc=False'
            )
        self.final_weight = final_weight
        self.copy_in_training_mode = copy_in_training_mode
        self._past: FrozenNetwork | None = None
        self._epoch_of_past = 0
        self._register_load_state_dict_pre_hook(self._forget_past)

    def _forget_past(self, *args: object) -> None:
        self._past = None

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Return the losses of N images, with softened targets from the second epoch on."""
        epoch, max_epochs = training_epoch('PSKDDistiller')
        if epoch == 0:  # Of a former training of this object.
            self._past = None
        else:
            logits = self._network_of_last_epoch(epoch)(inputs)[self.tap_paths.logits]
            scores = at_least_float32(logits).softmax(-1)
            weight = self.final_weight * (epoch + 1) / max_epochs
            data_samples = with_softened_targets(data_samples, scores, weight)
        return super().loss(inputs, data_samples)

    @not_compiled
    def _network_of_last_epoch(self, epoch: int) -> FrozenNetwork:
        if self._past is None or self._epoch_of_past != epoch:
            self._past = FrozenNetwork.copy_of(
                self.student, [self.tap_paths.logits], self.copy_in_training_mode
            )
            self._epoch_of_past = epoch
        return self._past

    def _apply(self, fn: Callable[[Tensor], Tensor], *args, **kwargs) -> 'PSKDDistiller':
        if self._past is not None:
            self._past.convert(fn)
        return super()._apply(fn, *args, **kwargs)


def with_softened_targets(data_samples: list, scores: Tensor, weight: float) -> list[DataSample]:
    """Return copies of data samples, whose ``gt_score`` is mixed with other scores.

    Args:
        data_samples: N samples with ``gt_label``, or ``gt_score`` ``(K, )``.
        scores: Shape ``(N, K)``.
        weight: Of the scores, 0 to 1; the targets have the rest.

    Raises:
        InputError: If a sample has no single label and no score.
    """
    if all('gt_score' in data_sample for data_sample in data_samples):
        targets = torch.stack([data_sample.gt_score for data_sample in data_samples])
    else:
        labels = class_labels(data_samples, 'PSKDDistiller')
        targets = F.one_hot(labels, scores.shape[1])
    mixed = (1 - weight) * targets.to(scores) + weight * scores
    copies = [data_sample.new() for data_sample in data_samples]
    for copy, score in zip(copies, mixed, strict=True):
        copy.set_field(score, 'gt_score', dtype=Tensor)
    return copies
