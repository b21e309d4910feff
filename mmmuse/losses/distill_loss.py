from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal

from torch import Tensor, nn

from mmmuse.errors import InputError
from mmmuse.registry import MODELS
from mmmuse.tapping.features import NetworkSpecs, Step
from mmmuse.tapping.progress import warmed_up

Reads = Literal['logits', 'vector', 'maps', 'exits', 'ensemble', 'labels']


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
        reads: Of ``'logits'``, the last feature's ``'vector'``, the modules' ``'maps'``, the
            neck's maps ``'exits'``, the mean of all peers' logits ``'ensemble'``, and class
            ``'labels'``.
        needs_two_networks: Whether it means nothing within one network.
        min_batch_size: Images that it needs in a batch.
        needs_labels: Whether it has to see the training set first; see :meth:`prepare`.
        reference: A slow float64 version of the loss, as a function of the loss and the step;
            None if it names none. The tests of the registry compare the two.

    Raises:
        InputError: If a network lacks what the loss reads, the two differ in their classes
            where logits are compared, or a number is out of its range.
    """

    reads: ClassVar[frozenset[Reads]] = frozenset()
    needs_two_networks: ClassVar[bool] = False
    min_batch_size: ClassVar[int] = 1
    needs_labels: ClassVar[bool] = False
    reference: ClassVar[Callable[['DistillLoss', Step], Tensor] | None] = None

    def __init__(
        self,
        learner: NetworkSpecs,
        source: NetworkSpecs,
        loss_weight: float,
        critic_weight: float = 1.0,
        warmup: float = 0.0,
    ) -> None:
        super().__init__()
        if not critic_weight > 0 or not loss_weight >= 0 or not 0 <= warmup <= 1:
            raise InputError(
                f'{self.name} needs critic_weight > 0, loss_weight >= 0 and warmup in [0, 1], got '
                f'{critic_weight}, {loss_weight} and {warmup}'
            )
        self.loss_weight = loss_weight
        self.critic_weight = critic_weight
        self.warmup = warmup
        self.within_one_network = source is learner
        _check_reads(self.name, self.reads, learner, source)

    @abstractmethod
    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return named scalars; those with ``loss`` in the name are summed and minimised."""

    def prepare(self, labels: Tensor) -> None:
        """Look at the training set before weights are loaded and the first step is taken.

        Args:
            labels: Class of each of its M images, ``(M, )``.
        """

    @property
    def name(self) -> str:
        """Of the loss, for messages."""
        return type(self).__name__

    def weight(self, step: Step) -> float:
        """Return ``loss_weight`` in this step: warmed up, in the unit of the learner's own loss."""
        return warmed_up(self.loss_weight, self.warmup) * step.task_scale

    def feature_scale(self, step: Step) -> float:
        """Return the factor on the features' gradient where the loss has ``critic_weight``."""
        return self.weight(step) / self.critic_weight


def build_loss(config: dict, learner: NetworkSpecs, source: NetworkSpecs) -> DistillLoss:
    """Build a loss from its config.

    Args:
        config: With its ``type``, a registered subclass of :class:`DistillLoss`.
        learner: Shapes of the network that learns.
        source: Shapes of the network that it learns from; the same object as ``learner``
            within one network.

    Raises:
        InputError: If it is not a config, there is no such loss (the message lists those that
            are available), or the networks lack what it reads.
    """
    if not isinstance(config, dict):
        raise InputError(f"a loss is a config, dict(type='...'), got {config!r}")
    name = config.get('type')
    kind = MODELS.get(name) if isinstance(name, str) else name
    within = source is learner
    if not _suits(kind, within):
        available = sorted(
            f'mmmuse.{name}' for name, kind in MODELS.module_dict.items() if _suits(kind, within)
        )
        where = 'within one network' if within else 'between networks'
        if isinstance(kind, type) and issubclass(kind, DistillLoss) and not within:
            raise InputError(
                f'{kind.__name__} reads exits, which a head has; between two networks choose '
                f'another loss: {", ".join(available)}'
            )
        raise InputError(f'unknown loss {where} {name!r}; available: {", ".join(available)}')
    return MODELS.build(config, default_args=dict(learner=learner, source=source))


def _suits(kind: object, within_one_network: bool) -> bool:
    if not (isinstance(kind, type) and issubclass(kind, DistillLoss)):
        return False
    return not kind.needs_two_networks if within_one_network else 'exits' not in kind.reads


def _check_reads(
    name: str, reads: frozenset[Reads], learner: NetworkSpecs, source: NetworkSpecs
) -> None:
    """Refuse networks that lack what a loss reads."""
    for side, specs in (('taps', learner), ('teacher_taps', source)):
        if 'logits' in reads and specs.logits is None:
            raise InputError(f'{name} compares class logits: set {side}.logits')
        if 'vector' in reads and specs.last is None:
            raise InputError(f'{name} reads the last feature: set {side}.last')
        if 'maps' in reads and not specs.modules:
            raise InputError(f'{name} compares features: set {side}.modules and {side}.last')
    if 'logits' in reads and learner.num_classes != source.num_classes:
        raise InputError(
            f'{name} compares class logits, and the teacher has {source.num_classes} classes '
            f'for {learner.num_classes} of the student'
        )
