from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmuse.arguments import PositiveInt
from mmmuse.errors import InputError
from mmmuse.functional import jsd_critic_loss, local_view, scale_gradient
from mmmuse.registry import MODELS

from .fused_jsd import fused_concat_jsd

Architecture = Literal['concat', 'dot']
Negatives = Literal['roll', 'all']


class CriticScores(NamedTuple):
    """Scores of the true pairs and of the mismatched ones.

    Attributes:
        joint: ``(N, S)`` with S the scored locations of each of N images.
        marginal: ``(K, N, S)``: entry ``[k, n, s]`` scores the locations of image
            n against the vector of image n + k + 1, counted around the batch.
            K is 1 for negatives ``'roll'``, N - 1 for ``'all'``.
    """

    joint: Tensor
    marginal: Tensor


@MODELS.register_module()
class GlobalLocalCritic(nn.Module):
    r"""Score pairs of a local and a global vector of images.

    ``concat`` scores a pair ``(a, b)`` with three 1x1 convolutions on ``[a; b]`` (hidden - ReLU -
    hidden - ReLU - 1). The first is linear in both, so it is computed as :math:`W_l a + W_g b`, once
    for each vector, also for the mismatched pairs; the concatenation is not built. ``dot`` takes the
    inner product of two embeddings, each a 1x1 residual block (conv - BN - ReLU - conv, linear
    shortcut, LayerNorm).

    Args:
        local_channels: Channels of the local feature.
        global_channels: Channels of the global vector.
        architecture: ``'concat'`` or ``'dot'``. The paper does not give this. ``dot`` was 4 points worse
            with critics at a tenth of the rate, and diverged at the full rate
            (``docs/results/fitted.md``, one seed).
        hidden_channels: Width, by default 512. The paper does not give this. Deep InfoMax has 2048
            for ``dot``, with which the six critics of a ResNet-18 cost 8 times its own step
            (32x32, batch 64, 64 locations); with 512 they cost 0.6 of it. 128 and 512 showed no
            difference in accuracy (``docs/results/fitted.md``, one seed).
        negatives: ``'roll'`` pairs each global vector with the local map of the image before it
            (equation 5 term for term); ``'all'`` with those of every other image, which with
            ``concat`` costs ``N - 1`` times as much. The paper does not give this. They showed no
            difference in accuracy (``docs/results/fitted.md``, one seed).
        num_locations: Score only this many locations of each image, drawn
            uniformly without replacement at every call: an unbiased estimate of
            the mean over all. ``'auto'`` is as many as ``locations_per_batch`` allows. None
            scores every location (the paper's mean).
        locations_per_batch: With ``'auto'``, the locations of all images of a batch together (of a
            process in distributed training); of each image the same number, at least one. What an
            estimate loses depends on their sum, and so does the cost. With batches of 128,
            where the default is 8, 4 to 32 of an image showed no difference in the accuracy of the
            full network (``docs/results/estimators.md``, three seeds of a short run).
        normalize: Give each vector, local and global, mean 0 and variance 1 over its channels before it is
            scored, so that the features' scale does not matter. The paper does not give this.

    Raises:
        InputError: On an unknown architecture or choice of negatives, or a number below 1.

    Source: Deep InfoMax (Hjelm et al., ICLR 2019), section 3 and appendix A.2;
    used by MUSE (equation 5).
    """

    def __init__(
        self,
        local_channels: PositiveInt,
        global_channels: PositiveInt,
        architecture: Architecture = 'concat',
        hidden_channels: PositiveInt | None = None,
        negatives: Negatives = 'roll',
        num_locations: PositiveInt | Literal['auto'] | None = None,
        locations_per_batch: PositiveInt = 1024,
        normalize: bool = False,
    ) -> None:
        super().__init__()
        self.normalize = normalize
        self.negatives = negatives
        self.num_locations = num_locations
        self.locations_per_batch = locations_per_batch
        score = ConcatScore if architecture == 'concat' else DotScore
        self.pair_score = score(local_channels, global_channels, hidden_channels or 512)

    def forward(
        self, local: Tensor, global_vector: Tensor, gradient_scale: float = 1.0
    ) -> CriticScores:
        """Score a batch's true and mismatched pairs.

        Args:
            local: A map ``(N, C_l, H, W)``, tokens ``(N, L, C_l)`` or a vector.
            global_vector: Shape ``(N, C_g)``.
            gradient_scale: Factor on the gradient that both sides receive; that of the critic's
                parameters is not scaled.

        Raises:
            InputError: On a batch of one image, which has no negative, or on
                another number of vectors than of local features.
        """
        _check_pairs(local, global_vector)
        tokens, vector = self._pairs(local, global_vector)
        return self.pair_score(
            scale_gradient(tokens, gradient_scale),
            scale_gradient(vector, gradient_scale),
            self.negatives,
        )

    def jsd_loss(self, local: Tensor, global_vector: Tensor, gradient_scale: float = 1.0) -> Tensor:
        """Return :func:`mmmuse.functional.jsd_critic_loss` of the scores.

        With ``concat`` it is computed in one pass that stores no scores or hidden layers for the
        backward pass: faster, and in the memory of the local maps.

        Args:
            local: A map, tokens or a vector, as for a call.
            global_vector: Shape ``(N, C_g)``.
            gradient_scale: As for a call; here without extra cost.

        Returns:
            A scalar.

        Raises:
            InputError: On a batch of one image, or on another number of vectors
                than of local features.
        """
        _check_pairs(local, global_vector)
        if not isinstance(self.pair_score, ConcatScore):
            return jsd_critic_loss(*self(local, global_vector, gradient_scale))
        tokens, vector = self._pairs(local, global_vector)
        return self.pair_score.jsd_loss(tokens, vector, self.negatives, gradient_scale)

    def _pairs(self, local: Tensor, global_vector: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self._draw(local)
        if not self.normalize:
            return tokens, global_vector
        return F.layer_norm(tokens, tokens.shape[-1:]), F.layer_norm(
            global_vector, global_vector.shape[-1:]
        )

    def _draw(self, local: Tensor) -> Tensor:
        tokens = local_view(local)
        num_images, num_tokens, channels = tokens.shape
        if num_images < 2:
            raise InputError(
                'a critic pairs each image with another one, so it needs a batch of '
                'at least 2 images, got 1 (for a last batch of one image, set '
                'drop_last=True)'
            )
        number = self.num_locations
        if number == 'auto':
            number = max(self.locations_per_batch // num_images, 1)
        if number is None or number >= num_tokens:
            return tokens.contiguous()
        keys = torch.rand(num_images, num_tokens, device=tokens.device)
        drawn = keys.topk(number, dim=1, sorted=False).indices
        if local.ndim == 4 and local.is_contiguous():
            # In the layout of the map: its gradient is added to those of the network without strides.
            maps = local.flatten(2).gather(2, drawn.unsqueeze(1).expand(-1, channels, -1))
            return maps.transpose(1, 2).contiguous()
        return tokens.gather(1, drawn.unsqueeze(-1).expand(-1, -1, channels))


def _check_pairs(local: Tensor, global_vector: Tensor) -> None:
    if global_vector.ndim != 2 or len(global_vector) != len(local):
        raise InputError(
            'a critic needs one global vector (N, C) per image, got local '
            f'{tuple(local.shape)} and global {tuple(global_vector.shape)}'
        )


class ConcatScore(nn.Module):
    """The ``concat`` critic, its first layer factored into a local and a global part."""

    def __init__(self, local_channels: int, global_channels: int, hidden_channels: int) -> None:
        super().__init__()
        self.local_projection = nn.Linear(local_channels, hidden_channels)
        self.global_projection = nn.Linear(global_channels, hidden_channels, bias=False)
        self.hidden = nn.Linear(hidden_channels, hidden_channels)
        self.score = nn.Linear(hidden_channels, 1)
        # The two projections are one layer on [local; global] and are initialised as that layer.
        bound = (local_channels + global_channels) ** -0.5
        for parameter in (
            self.local_projection.weight,
            self.local_projection.bias,
            self.global_projection.weight,
        ):
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, tokens: Tensor, vector: Tensor, negatives: Negatives) -> CriticScores:
        local = self.local_projection(tokens)
        global_ = self.global_projection(vector).unsqueeze(1)
        # Rolling the vectors gives the same pairs as rolling the maps, and is cheaper.
        globals_ = torch.stack(
            [global_] + [global_.roll(-shift, 0) for shift in _shifts(negatives, len(tokens))]
        )
        hidden = (local + globals_).relu_()
        scores = self.score(self.hidden(hidden).relu_()).squeeze(-1)
        return CriticScores(scores[0], scores[1:])

    def jsd_loss(
        self, tokens: Tensor, vector: Tensor, negatives: Negatives, gradient_scale: float
    ) -> Tensor:
        layers = (self.local_projection, self.hidden, self.score)
        return fused_concat_jsd(
            tokens,
            self.global_projection(scale_gradient(vector, gradient_scale)),
            [parameter for layer in layers for parameter in (layer.weight, layer.bias)],
            _shifts(negatives, len(tokens)),
            gradient_scale,
        )


def _shifts(negatives: Negatives, num_images: int) -> range:
    return range(1, 2 if negatives == 'roll' else num_images)


class DotScore(nn.Module):
    """The ``dot`` critic: the inner product of two embeddings."""

    def __init__(self, local_channels: int, global_channels: int, hidden_channels: int) -> None:
        super().__init__()
        self.local_embedding = ResidualEmbedding(local_channels, hidden_channels)
        self.global_embedding = ResidualEmbedding(global_channels, hidden_channels)

    def forward(self, tokens: Tensor, vector: Tensor, negatives: Negatives) -> CriticScores:
        num_images, num_tokens, _ = tokens.shape
        local = self.local_embedding(tokens.flatten(0, 1)).view(num_images, num_tokens, -1)
        global_ = self.global_embedding(vector)
        if negatives == 'roll':
            return CriticScores(
                torch.einsum('nld,nd->nl', local, global_),
                torch.einsum('nld,nd->nl', local, global_.roll(-1, 0)).unsqueeze(0),
            )
        scores = (local @ global_.t()).transpose(1, 2)  # (N local images, N vectors, L)
        every_image = torch.arange(num_images, device=scores.device)
        partners = (every_image + every_image.unsqueeze(1)) % num_images
        shifted = scores[every_image, partners]  # (N shifts, N local images, L)
        return CriticScores(shifted[0], shifted[1:])


class ResidualEmbedding(nn.Module):
    """A 1x1 residual block on vectors: linear - BN - ReLU - linear, linear shortcut, LayerNorm."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Linear(in_channels, out_channels, bias=False),
            nn.BatchNorm1d(out_channels),
            nn.ReLU(inplace=True),
            nn.Linear(out_channels, out_channels),
        )
        self.shortcut = nn.Linear(in_channels, out_channels)
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, vectors: Tensor) -> Tensor:
        return self.norm(self.residual(vectors) + self.shortcut(vectors))
