from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from mmmuse.critics import CriticScores


class InformationEstimator(nn.Module, ABC):
    """An estimator of the mutual information of two views from a critic's scores.

    A subclass implements one formula. :class:`mmmuse.losses.MUSELoss` builds one for each of its
    critics; a config selects it in one line:
    ``dict(type='mmmuse.MUSELoss', estimator=dict(type='mmmuse.InfoNCE'))``.

    Attributes:
        uninformed_loss: The loss of a critic that scores all pairs alike; None if it is not a
            constant.
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
            gradient_scale: Factor on the gradient that the two views receive; that of the critic is
                not scaled.

        Returns:
            A scalar to be minimised; it decreases with the information.
        """
        return self.loss(critic(local, global_vector, gradient_scale))

    @abstractmethod
    def loss(self, scores: CriticScores) -> Tensor:
        """Return the loss of a batch's scores, a scalar."""

    @abstractmethod
    def estimate(self, scores: CriticScores) -> Tensor:
        """Return the estimate of mutual information from a trained critic's scores, in nats."""

    def factor(self, loss: Tensor) -> Tensor:
        """Return the factor of a loss in MUSE's product.

        A product increases in each of its factors only if the others are positive. A factor must
        therefore be positive and increase with the loss. It is the loss itself where that is
        positive.
        """
        return loss
