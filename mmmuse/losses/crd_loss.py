from numbers import Integral
from typing import Annotated

import mmengine.dist as dist
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmuse.arguments import Fraction, NonNegativeFloat, PositiveInt, Range
from mmmuse.errors import InputError
from mmmuse.functional import crd_loss
from mmmuse.functional.precision import at_least_float32
from mmmuse.registry import MODELS
from mmmuse.tapping.features import NetworkSpecs, Step

from .distill_loss import DistillLoss

_UNSET = -1.0
_MOST_OF_SMALL_SETS = 2**16  # Negatives, drawn with replacement.


@MODELS.register_module()
class CRDLoss(DistillLoss):
    r"""CRD: the same image's features of both networks agree, other classes' do not.

    Both last vectors are embedded linearly and brought to length 1. A memory holds the
    embedding of every training image by either network. An image's embedding by one
    network is compared with the other network's memory: its own row there against K rows
    of other classes, by :func:`mmmuse.functional.crd_loss` of
    :math:`h = e^{u \cdot v / \tau} / Z`, with Z for each side fixed by the first batch.
    All scores of a batch come from one matrix product, of which the drawn ones are taken.

    The memory has its size and classes from :meth:`prepare`, is the same in all
    processes, and is saved and resumed with the distiller. Only a training step changes it,
    not a loss in eval mode or without gradient.

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred. Its side gives it no
            gradient, also where it is a peer.
        embed_channels: Channels of the embeddings.
        num_negatives: K, drawn with replacement. The public code draws without where
            there are enough.
        temperature: :math:`\tau`, above 0.012.
        momentum: With which a row keeps what it was, 0 to 1.
        loss_weight: Factor on the loss, for embeddings and features alike, since the learner's
            embedding is the way of its gradient; 0.8 in the public code.

    Returns:
        ``loss_crd``.

    Raises:
        InputError: If a number is out of its range; in a step, if the training set has not
            been seen, an image does not say which one it is (``sample_idx``), or images are
            mixed (Mixup, CutMix).

    Source: "Contrastive Representation Distillation" (Tian et al., ICLR 2020).
    """

    reads = frozenset({'vector', 'labels'})
    needs_two_networks = True
    needs_labels = True

    def __init__(
        self,
        learner: NetworkSpecs,
        source: NetworkSpecs,
        embed_channels: PositiveInt = 128,
        num_negatives: PositiveInt = 16384,
        # Below, e^(1 / temperature) of equal embeddings is not a finite float32.
        temperature: Annotated[float, Range(above=0.012)] = 0.07,
        momentum: Fraction = 0.5,
        loss_weight: NonNegativeFloat = 0.8,
    ) -> None:
        super().__init__(learner, source, loss_weight)
        self.embed_channels = embed_channels
        self.num_negatives = num_negatives
        self.temperature = temperature
        self.momentum = momentum
        self.embed_student = nn.Linear(learner.last.channels, embed_channels)
        self.embed_teacher = nn.Linear(source.last.channels, embed_channels)
        self.num_images = 0

    def prepare(self, labels: Tensor) -> None:
        """Make room for every training image; a memory of these very images is kept.

        Args:
            labels: Class of each of the M images, ``(M, )``.

        Raises:
            InputError: If they are all of one class, so that there are no negatives, or fewer
                than ``num_negatives`` and than 65,536.
        """
        labels = labels.long()
        if len(labels.unique()) < 2:
            raise InputError(
                'CRDLoss draws negatives of other classes, and there is only one class'
            )
        most = max(len(labels), _MOST_OF_SMALL_SETS)
        if self.num_negatives > most:
            raise InputError(
                f'CRDLoss draws num_negatives={self.num_negatives} of the {len(labels)} training '
                f'images for each image of a batch: set it to at most {most}'
            )
        device = self.embed_student.weight.device
        known = self.num_images == len(labels) and torch.equal(self.labels, labels.to(device))
        if not known:
            generator = torch.Generator().manual_seed(0)  # The same in every process.
            for side in ('student', 'teacher'):
                rows = torch.randn(len(labels), self.embed_channels, generator=generator)
                self.register_buffer(f'memory_{side}', F.normalize(rows, dim=1).to(device))
                self.register_buffer(f'normaliser_{side}', torch.tensor(_UNSET, device=device))
            self.num_images = len(labels)
        counts = labels.bincount()
        for name, value in (
            ('labels', labels),
            ('by_class', labels.argsort(stable=True)),
            ('starts', counts.cumsum(0) - counts),
            ('counts', counts),
        ):
            self.register_buffer(name, value.to(device), persistent=False)

    def _apply(self, *args, **kwargs) -> 'CRDLoss':
        # In bfloat16 the constants of a whole training would be off by up to 0.4 %.
        super()._apply(*args, **kwargs)
        for side in ('student', 'teacher') if self.num_images else ():
            name = f'normaliser_{side}'
            setattr(self, name, at_least_float32(self.get_buffer(name)))
        return self

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return ``loss_crd``, and remember the batch of a training step."""
        images = self._images(step)
        with torch.autocast(images.device.type, enabled=False):
            own = self._embed(self.embed_student, step.learner.last_vector)
            other = self._embed(self.embed_teacher, step.source.last_vector.detach())
            negatives = self.draw_negatives(images)
            loss = self._one_side(own, 'teacher', images, negatives) + self._one_side(
                other, 'student', images, negatives
            )
            if self._learns:
                self._remember(images, own, other)
        return {'loss_crd': self.weight(step) * loss}

    @property
    def _learns(self) -> bool:
        return self.training and torch.is_grad_enabled()

    def _images(self, step: Step) -> Tensor:
        if not self.num_images:
            raise InputError(
                'CRDLoss has not seen the training set: mmmuse train shows it, elsewhere call '
                'distiller.prepare(labels)'
            )
        indices = [sample.get('sample_idx') for sample in step.data_samples]
        if not all(isinstance(i, Integral) and 0 <= i < self.num_images for i in indices):
            wrong = next(
                i for i in indices if not isinstance(i, Integral) or not 0 <= i < self.num_images
            )
            raise InputError(
                f'CRDLoss remembers {self.num_images} images and needs sample_idx, the place of each '
                f'among them, got {wrong}'
            )
        return torch.tensor(indices, device=self.embed_student.weight.device)

    @staticmethod
    def _embed(layer: nn.Linear, vector: Tensor) -> Tensor:
        vector = at_least_float32(vector)
        return F.normalize(F.linear(vector, *(x.to(vector) for x in layer.parameters())), dim=1)

    def draw_negatives(self, images: Tensor) -> Tensor:
        """Draw images of other classes, uniformly and with replacement.

        Args:
            images: Indices of the N anchors, ``(N, )``.

        Returns:
            Indices ``(N, K)``.
        """
        of_class = self.labels[images]
        starts, counts = self.starts[of_class, None], self.counts[of_class, None]
        draws = torch.rand(
            len(images), self.num_negatives, device=images.device, dtype=torch.float64
        )
        places = (draws * (self.num_images - counts)).long()
        # Images stand in the order of their classes: step over the anchor's own.
        return self.by_class[places + (places >= starts) * counts]

    def _one_side(self, anchors: Tensor, side: str, images: Tensor, negatives: Tensor) -> Tensor:
        memory, normaliser = self.get_buffer(f'memory_{side}'), f'normaliser_{side}'
        # A copy, since the memory changes before the backward needs what it was.
        scores = anchors @ memory.to(anchors, copy=True).T / self.temperature
        chosen = torch.cat([images[:, None], negatives], 1)
        scores = scores.gather(1, chosen).exp()
        learns = self._learns
        with torch.no_grad():
            first = scores.mean() * self.num_images
            if dist.get_world_size() > 1:
                dist.all_reduce(first, op='mean')
            known = self.get_buffer(normaliser)
            now = torch.where(known == _UNSET, first.to(known), known)
            if learns:
                known.copy_(now)
        scores = scores / now
        return crd_loss(scores[:, 0], scores[:, 1:], self.num_images)

    @torch.no_grad()
    def _remember(self, images: Tensor, own: Tensor, other: Tensor) -> None:
        seen = dist.all_gather(images)
        for side, embedded in (('student', own), ('teacher', other)):
            memory = self.get_buffer(f'memory_{side}')
            # Process by process, so that an image that several have seen ends the same in all.
            for of_process, rows in zip(seen, dist.all_gather(embedded.detach()), strict=True):
                # Of an image that a process has twice, the last is written in both places: which
                # of two different ones stays is not defined on a GPU.
                rows = rows[_last_places(of_process)]
                mixed = self.momentum * at_least_float32(memory[of_process])
                mixed = mixed + (1 - self.momentum) * rows.to(mixed)
                memory[of_process] = F.normalize(mixed, dim=1).to(memory)


def _last_places(images: Tensor) -> Tensor:
    """Return for each of N indices the last place in the batch that has the same, ``(N, )``."""
    places = torch.arange(len(images), device=images.device)
    return torch.where(images[:, None] == images, places, -1).amax(1)
