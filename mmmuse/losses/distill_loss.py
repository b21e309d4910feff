from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

from mmengine.model import ModuleList
from torch import Tensor, nn

from mmmuse.arguments import (
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    with_checked_arguments,
)
from mmmuse.errors import InputError
from mmmuse.tapping.features import NetworkSpecs, Step
from mmmuse.tapping.pixel_logits import with_pixels_as_examples
from mmmuse.tapping.progress import warmed_up

from .phases import Span
from .requirements import check_heads, check_kind, check_map, check_reads, chosen_modules

Reads = Literal[
    'logits', 'vector', 'maps', 'shallow', 'exits', 'ensemble', 'labels', 'head', 'boxes'
]


@with_checked_arguments
class DistillLoss(nn.Module, ABC):
    """A loss with which a network, the learner, learns from a source.

    The source is another network, or the learner itself: its own last feature. A subclass is
    one formula, :meth:`forward`, of one :class:`mmmuse.tapping.features.Step`. It declares as
    class attributes what it needs; :func:`build_loss` checks that in one place.

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred. The same object as
            ``learner`` in self-distillation.
        loss_weight: Factor on the loss. Where the loss trains critics (or regressors, or
            discriminators) of its own, factor on the gradient that the features receive.
        critic_weight: Factor on the loss that such critics minimise, above 0.
        warmup: Part of the training, 0 to 1, over which ``loss_weight`` rises linearly
            from 0; 0 for none.

    Attributes:
        reads: Of ``'logits'``, the last feature's ``'vector'``, the modules' ``'maps'``,
            those before the last ``'shallow'``, the neck's maps ``'exits'``, the mean of all
            peers' logits ``'ensemble'``, class ``'labels'``, one for each image: mixed images are then refused, the dense
            ``'head'`` of detectors, and the ``'boxes'`` of the objects.
        needs_two_networks: Whether it means nothing within one network.
        reads_multi_label: Whether it reads logits of classes that do not exclude each other.
        min_batch_size: Images that it needs in a batch.
        needs_labels: Whether it has to see the training set first; see :meth:`prepare`.
        head_modules: Paths of the modules in the learner's dense head whose outputs it reads.
        span: The part of the training in which it counts; None for all of it.
        balance: Factor beside ``loss_weight`` that a distiller with ``loss_balance`` sets.

    Raises:
        InputError: If a network lacks what the loss reads, the two differ in their classes
            where logits are compared, or a number is out of its range.
    """

    reads: ClassVar[frozenset[Reads]] = frozenset()
    needs_two_networks: ClassVar[bool] = False
    reads_multi_label: ClassVar[bool] = False
    min_batch_size: ClassVar[int] = 1
    needs_labels: ClassVar[bool] = False
    head_modules: tuple[str, ...] = ()
    span: Span | None = None
    balance: float = 1.0

    def __init__(
        self,
        learner: NetworkSpecs,
        source: NetworkSpecs,
        loss_weight: NonNegativeFloat,
        critic_weight: PositiveFloat = 1.0,
        warmup: Fraction = 0.0,
    ) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.critic_weight = critic_weight
        self.warmup = warmup
        self.within_one_network = source is learner
        self._num_source_modules = len(source.modules)
        check_reads(self.name, self.reads, learner, source)
        check_kind(self.name, self.reads, self.reads_multi_label, learner, source)
        if 'head' in self.reads:
            check_heads(self.name, learner, source)

    @abstractmethod
    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return named scalars.

        Those with ``loss`` in the name are summed and minimised, except ``mi_loss_i`` and
        ``si_loss_i``, which are only logged.
        """

    def prepare(self, labels: Tensor) -> None:
        """Look at the training set before weights are loaded and the first step is taken.

        Args:
            labels: Class of each of its M images, ``(M, )``.
        """

    def counts_now(self) -> bool:
        """Whether the training is in the loss's span."""
        return self.span is None or self.span.is_now(self.name)

    @property
    def name(self) -> str:
        """Name of the loss, for messages."""
        return type(self).__name__

    @property
    def source_features(self) -> frozenset[str]:
        """What it reads of the source: ``'logits'``, the pooled last feature ``'vector'``, ``'module3'``.

        All modules where it reads ``'maps'``; a subclass that knows which ones says so.
        """
        modules = range(1, self._num_source_modules + 1) if 'maps' in self.reads else ()
        return (self.reads & {'logits', 'vector'}) | {f'module{i}' for i in modules}

    def weight(self, step: Step) -> float:
        """Return ``loss_weight`` in this step, in the unit of the learner's own loss.

        In training it is warmed up and balanced.
        """
        if not self.training:
            return self.loss_weight * step.task_scale
        return warmed_up(self.loss_weight, self.warmup) * step.task_scale * self.balance

    def feature_scale(self, step: Step) -> float:
        """Return the factor on the features' gradient where the loss has ``critic_weight``."""
        return self.weight(step) / self.critic_weight


@with_checked_arguments
class FeatureLoss(DistillLoss):
    """A loss that compares modules of the learner, each with a feature of the source.

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred.
        loss_weight: See :class:`DistillLoss`.
        modules: Which modules of the learner are compared, from 1 (the first tap) to T (the
            last). By default all T of a loss with ``module_by_module`` between two networks,
            else the shallow ones. If only the last feature of the source is tapped, as that of a teacher
            given by its name, it is the target of each, and by default the last module is compared.
        **weights: ``critic_weight`` and ``warmup``.

    Attributes:
        module_by_module: Whether a module's target is the same module of another network.
            Within one network, and without it, the target is the source's last feature.
        local_specs: Shapes of the compared features.
        target_specs: Shapes of their targets.

    Raises:
        InputError: If the networks differ in their number of modules and none are chosen, a
            module is not there in both, or one that has to be a map is a vector.
    """

    reads = frozenset({'maps'})
    module_by_module: ClassVar[bool] = True

    def __init__(
        self,
        learner: NetworkSpecs,
        source: NetworkSpecs,
        loss_weight: NonNegativeFloat,
        modules: Sequence[int] | None = None,
        **weights: float,
    ) -> None:
        super().__init__(learner, source, loss_weight, **weights)
        paired = self.module_by_module and not self.within_one_network
        if paired and len(source.modules) == 1 < len(learner.modules):
            paired = False
            modules = [len(learner.modules)] if modules is None else modules
        count = len(learner.modules) if paired else len(learner.shallow)
        taps = learner.shallow if self.within_one_network else learner.modules
        self.modules = chosen_modules(self.name, modules, count, len(taps))
        same_number = modules is not None or len(learner.modules) == len(source.modules)
        if paired and (not same_number or max(self.modules) > len(source.modules)):
            raise InputError(
                f'{self.name} compares modules {self.modules} of both networks, and '
                f'{learner.taps} has {len(learner.modules)} of them, {source.taps} '
                f'{len(source.modules)}: tap as many in both, or choose with modules=[...]'
            )
        self._paired = paired
        self.local_specs = [learner.modules[i - 1] for i in self.modules]
        self.target_specs = [self._target(source, i) for i in self.modules]
        self._target_modules = [i if paired else len(source.modules) for i in self.modules]
        if 'maps' in self.reads:
            for i, local, j, target in zip(
                self.modules, self.local_specs, self._target_modules, self.target_specs, strict=True
            ):
                check_map(self.name, i, local)
                check_map(self.name, j, target)

    @property
    def source_features(self) -> frozenset[str]:
        """As that of :class:`DistillLoss`; of the modules, those that it compares."""
        modules = self._target_modules if 'maps' in self.reads else ()
        return (self.reads & {'logits', 'vector'}) | {f'module{i}' for i in modules}

    def _target(self, network: object, module: int) -> object:
        return network.modules[module - 1] if self._paired else network.last

    def pairs(self, step: Step) -> list[tuple[Tensor, Tensor]]:
        """Return each compared feature with its target."""
        return [(step.learner.modules[i - 1], self._target(step.source, i)) for i in self.modules]


class Edge(ModuleList):
    """The losses with which one network learns from another, or from its own last feature.

    See :func:`mmmuse.losses.build_edge`.
    """

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return the terms of all losses by name."""
        terms: dict[str, Tensor] = {}
        for of_loss in self.by_loss(step):
            add_terms(terms, of_loss)
        return terms

    def by_loss(self, step: Step) -> list[dict[str, Tensor]]:
        """Return the terms of each loss, in order; none of one that does not count now."""
        step = with_pixels_as_examples(step)
        return [loss(step) if loss.counts_now() else {} for loss in self]

    def weights(self, step: Step) -> list[float]:
        """Return the weight of each loss in this step, in order."""
        return [loss.weight(step) for loss in self]

    @property
    def min_batch_size(self) -> int:
        """Images that the losses need in a batch."""
        # Not max with a default: a compiled step would be interrupted by it.
        return max([1, *(loss.min_batch_size for loss in self)])

    @property
    def source_features(self) -> frozenset[str]:
        """What the losses read of the source."""
        return frozenset().union(*(loss.source_features for loss in self))

    @property
    def reads_exits(self) -> bool:
        """Whether a loss reads the neck's maps."""
        return any('exits' in loss.reads for loss in self)

    @property
    def reads_head(self) -> bool:
        """Whether a loss reads the dense heads of detectors."""
        return any('head' in loss.reads for loss in self)

    @property
    def head_modules(self) -> list[str]:
        """Paths of the modules in the learner's dense head that losses read."""
        return list(dict.fromkeys(path for loss in self for path in loss.head_modules))


def add_terms(terms: dict[str, Tensor], more: dict[str, Tensor]) -> None:
    """Add terms to those of a step; a second term of the same name gets a number as suffix."""
    for name, value in more.items():
        free, number = name, 1
        while free in terms:
            number += 1
            free = f'{name}_{number}'
        terms[free] = value
