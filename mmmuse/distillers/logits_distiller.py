import torch
from torch import Tensor, nn

from mmmuse.errors import InputError
from mmmuse.losses import KDLoss
from mmmuse.registry import MODELS

from .exit_classifier import loss_of
from .self_distiller import SelfDistiller


class LogitsDistiller(SelfDistiller):
    """A self-distiller with losses of its own on the class logits: the base of MUSE's rivals.

    With ``head=None, neck=None`` it is the rival without MUSE, with a
    :class:`mmmuse.heads.MUSEHead` the rival and MUSE together: their losses add up.

    Args:
        student: Config of an mmpretrain classifier, or the built model.
        *args: Those of :class:`SelfDistiller`.
        **kwargs: Those of :class:`SelfDistiller`.

    Raises:
        InputError: If no logits are tapped, or the student's head is multi-label.
    """

    has_own_losses = True

    def __init__(self, student: dict | nn.Module, *args, **kwargs) -> None:
        super().__init__(student, *args, **kwargs)
        if self.tap_paths.logits is None:
            raise InputError(
                f'{type(self).__name__} needs taps.logits, the module that outputs the class logits'
            )
        if self.tapped.specs.kind == 'labels':
            raise InputError(
                f'{type(self).__name__} reads one class label for each image, and the head '
                f'{type(self.student.head).__name__} of the student is multi-label'
            )

    @property
    def num_classes(self) -> int:
        """Classes of the tapped logits."""
        return self.tap_specs[self.tap_paths.logits].channels

    def build_kd(self, temperature: float, loss_weight: float) -> KDLoss:
        """Return the KD of logits of these classes."""
        specs = self.tapped.specs
        return KDLoss(specs, specs, temperature, loss_weight)

    def build_classifier(self, in_channels: int) -> nn.Module:
        """Return a linear classifier with the student's own loss, as MUSE's exits have it."""
        loss = loss_of(self.student)
        classifier = dict(
            type='mmpretrain.LinearClsHead',
            _scope_='mmpretrain',
            num_classes=self.num_classes,
            in_channels=in_channels,
        )
        return MODELS.build(classifier if loss is None else {**classifier, 'loss': loss})

    @torch.no_grad()
    def predict_logits(self, inputs: Tensor) -> Tensor:
        """Return the student's logits ``(N, K)`` of one more forward, which gives no gradient.

        Call it after the step's own forward: under autocast the weights are
        cast once, and the first forward decides whether the casts give a gradient.
        """
        with self.tapped:
            self.student(inputs, mode='tensor')
            return self.taps.pop()[self.tap_paths.logits]


def classifier_losses(name: str, classifier: nn.Module, logits: Tensor, data_samples: list) -> dict:
    """Return a classifier's losses of logits ``(N, K)`` under ``name``: ``{name}.loss_ce``.

    Args:
        name: Of the branch or network that the logits are of.
        classifier: What :meth:`LogitsDistiller.build_classifier` returns.
        logits: Shape ``(N, K)``.
        data_samples: N samples with ``gt_label`` or ``gt_score``.
    """
    losses = classifier._get_loss(logits, data_samples)
    losses['loss_ce'] = losses.pop('loss')
    return {f'{name}.{term}': value for term, value in losses.items()}
