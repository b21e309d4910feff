from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from mmmuse.critics import CriticScores


class InformationEstimator(nn.Module, ABC):
    """What a critic's scores say of the information that two views share.

    A subclass owns one formula. :class:`mmmuse.losses.MUSELoss` builds one for
    each of its critics, so that one line of config exchanges it:
    ``dict(type='mmmuse.MUSELoss', estimator=dict(type='mmmuse.InfoNCE'))``.

    Attributes:
        uninformed_loss: The loss of a critic that scores all pairs alike, where that is one
            number; None where it is not.
    """

    uninformed_loss: ClassVar[float | None] = None

    def forward(
        self,
        critic: nn.Module,
        local: Tensor,
        global_vector: Tensor,
        gradient_scale: float = 1.0,
    ) -> Tensor:
        """Return the loss of a critic on a batch of views.

        Args:
            critic: Such as :class:`mmmuse.critics.GlobalLocalCritic`.
            local: A map, tokens or a vector, as the critic reads them.
            global_vector: Shape ``(N, C)``.
            gradient_scale: Factor on the gradient that the two views receive; the critic
                receives its own whole.

        Returns:
            A scalar to be minimised; it falls as the views share more.
        """
        return self.loss(critic(local, global_vector, gradient_scale))

    @abstractmethod
    def loss(self, scores: CriticScores) -> Tensor:
        """Return the loss of a batch's scores, a scalar."""

    @abstractmethod
    def estimate(self, scores: CriticScores) -> Tensor:
        """Return the mutual information in nats that a trained critic's scores tell, a scalar."""

    def factor(self, loss: Tensor) -> Tensor:
        """Return what stands for a loss in MUSE's product.

        A product falls with each of its factors only where the others are
        positive, so a factor is positive, and falls as the loss does: here the
        loss itself, which suits those that are always positive.
        """
        return loss
