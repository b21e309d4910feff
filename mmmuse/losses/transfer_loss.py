from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import Tensor, nn

from mmmuse.errors import InputError
from mmmuse.registry import MODELS
from mmmuse.tapping.features import DistillFeatures, NetworkSpecs, TransferFeatures

from .discrepancy import Discrepancy, build_discrepancy
from .kd_loss import KDLoss

Reads = Literal['logits', 'vector', 'maps']


class TransferLoss(nn.Module, ABC):
    """A loss with which one network learns from another.

    Args:
        student: Shapes of the network that learns.
        teacher: Shapes of the network that it learns from.
        loss_weight: Factor on the loss.
        name: Of the loss in messages; that of the class by default.

    Attributes:
        reads: What it reads of the teacher: class ``'logits'``, the last feature's
            ``'vector'``, or the modules' ``'maps'``.
        min_batch_size: Images that it needs in a batch.
        needs_labels: Whether it has to see the training set first; see :meth:`prepare`.

    Raises:
        InputError: If a network has not what the loss reads, or the two have not the
            same number of classes for a loss of logits.
    """

    reads: ClassVar[frozenset[Reads]]
    min_batch_size: ClassVar[int] = 1
    needs_labels: ClassVar[bool] = False

    def __init__(
        self,
        student: NetworkSpecs,
        teacher: NetworkSpecs,
        loss_weight: float,
        name: str | None = None,
    ) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        check_tapped(name or type(self).__name__, self.reads, student, teacher)

    @abstractmethod
    def forward(self, features: TransferFeatures) -> dict[str, Tensor]:
        """Return named scalars; those with ``loss`` in the name are summed and minimised."""

    def prepare(self, labels: Tensor) -> None:
        """Look at the training set before weights are loaded and the first step is taken.

        Args:
            labels: Class of each of its M images, ``(M, )``.
        """


def check_tapped(
    name: str, reads: frozenset[Reads], student: NetworkSpecs, teacher: NetworkSpecs
) -> None:
    """Refuse networks that a loss cannot compare.

    Raises:
        InputError: Naming the loss, and what is missing or differs.
    """
    for side, specs in (('taps', student), ('teacher_taps', teacher)):
        if 'logits' in reads and specs.logits is None:
            raise InputError(f'{name} compares class logits: set {side}.logits')
        if 'vector' in reads and specs.last is None:
            raise InputError(f'{name} reads the last feature: set {side}.last')
        if 'maps' in reads and not specs.modules:
            raise InputError(f'{name} compares features: set {side}.modules and {side}.last')
    if 'logits' in reads and student.num_classes != teacher.num_classes:
        raise InputError(
            f'{name} compares class logits, and the teacher has {teacher.num_classes} classes '
            f'for {student.num_classes} of the student'
        )


class LogitsTransfer(TransferLoss):
    """:class:`mmmuse.losses.KDLoss` between two networks: ``loss_kd``."""

    reads = frozenset({'logits'})

    def __init__(self, config: dict, student: NetworkSpecs, teacher: NetworkSpecs) -> None:
        super().__init__(student, teacher, 1.0, 'KDLoss')
        self.kd = MODELS.build(config)

    def forward(self, features: TransferFeatures) -> dict[str, Tensor]:
        """Return ``loss_kd``."""
        return {'loss_kd': self.kd(features.student.logits, features.teacher.logits)}


class DiscrepancyTransfer(TransferLoss):
    """A discrepancy whose last feature, or whose targets, are another network's.

    Args:
        config: Of the discrepancy. Of one that compares module by module, ``modules``
            may name those that are compared, from 1 (the first tap) to T (the last);
            all by default. Any other compares the shallow features, or those of
            ``modules``, with the teacher's last.
        student: Shapes of the network that learns.
        teacher: Shapes of the network that it learns from.

    Raises:
        InputError: If the discrepancy reads exits, the networks differ in their number
            of modules and none are chosen, a module is not there in both, or one that
            has to be a map is a vector.
    """

    def __init__(self, config: dict, student: NetworkSpecs, teacher: NetworkSpecs) -> None:
        config = dict(config)
        kind = config['type']
        kind = MODELS.get(kind) if isinstance(kind, str) else kind
        chosen = config.pop('modules', None)
        self.reads = frozenset({'maps' if kind.compares_modules or kind.reads_maps else 'vector'})
        super().__init__(student, teacher, 1.0, kind.__name__)
        if kind.reads_exits:
            raise InputError(
                f'{kind.__name__} reads exits, which a head has; between two networks take '
                'another loss'
            )
        count = len(student.modules) if kind.compares_modules else len(student.shallow)
        self.modules = chosen_modules(kind.__name__, chosen, count, student)
        self.compares_modules = kind.compares_modules
        local = [student.modules[i - 1] for i in self.modules]
        targets = local
        if kind.compares_modules:
            if chosen is None and len(teacher.modules) > count:
                raise InputError(
                    f'{kind.__name__} compares {count} modules, and the teacher has '
                    f'{len(teacher.modules)} taps: give both as many, or choose with modules=[...]'
                )
            targets = self._targets(kind.__name__, teacher)
        if kind.reads_maps:
            for i, *pair in zip(self.modules, local, targets):
                if any(spec.grid is None for spec in pair):
                    raise InputError(
                        f'{kind.__name__} compares maps, and module {i} of a network puts out a '
                        'vector: tap a module before the pooling'
                    )
        if kind.compares_modules:
            config['target_channels'] = [spec.channels for spec in targets]
        self.discrepancy = build_discrepancy(
            config, [spec.channels for spec in local], teacher.last.channels
        )
        self.min_batch_size = self.discrepancy.min_batch_size

    def _targets(self, name: str, teacher: NetworkSpecs) -> list:
        if max(self.modules) > len(teacher.modules):
            raise InputError(
                f'{name} compares module {max(self.modules)} of both networks, and the teacher has '
                f'{len(teacher.modules)} taps: give both as many, or choose with modules=[...]'
            )
        return [teacher.modules[i - 1] for i in self.modules]

    def forward(self, features: TransferFeatures) -> dict[str, Tensor]:
        """Return the discrepancy's terms."""
        student, teacher = features.student, features.teacher
        targets = None
        if self.compares_modules:
            targets = tuple(teacher.modules[i - 1] for i in self.modules)
        return self.discrepancy(
            DistillFeatures(
                tuple(student.modules[i - 1] for i in self.modules),
                teacher.last,
                teacher.logits,
                targets=targets,
            )
        )


def chosen_modules(
    name: str, modules: Sequence[int] | None, count: int, student: NetworkSpecs
) -> list[int]:
    """Return which modules a loss compares, from 1.

    Args:
        name: Of the loss, for messages.
        modules: The config's choice; None for the first ``count``.
        count: How many there are by default.
        student: Shapes of the network that learns.

    Raises:
        InputError: If there are none, or the choice is not of the student's taps.
    """
    if not student.modules or (modules is None and count == 0):
        raise InputError(f'{name} compares features: set taps.modules and taps.last')
    if modules is None:
        return list(range(1, count + 1))
    if (
        not isinstance(modules, Sequence)
        or not modules
        or not all(isinstance(i, int) and 1 <= i <= len(student.modules) for i in modules)
    ):
        raise InputError(
            f'{name}: modules are numbers from 1 to {len(student.modules)}, the taps of the '
            f'student, got {modules}'
        )
    return list(modules)


def build_transfer_loss(config: dict, student: NetworkSpecs, teacher: NetworkSpecs) -> TransferLoss:
    """Build a loss between two networks from its config.

    Args:
        config: With its ``type``: a registered :class:`TransferLoss`, a
            :class:`mmmuse.losses.Discrepancy` that reads no exits, or
            ``mmmuse.KDLoss``.
        student: Shapes of the network that learns.
        teacher: Shapes of the network that it learns from.

    Raises:
        InputError: If it is no config, or there is no such loss; those that there are are
            listed.
    """
    if not isinstance(config, dict):
        raise InputError(f"a loss between networks is a config, dict(type='...'), got {config!r}")
    name = config.get('type')
    kind = MODELS.get(name) if isinstance(name, str) else name
    kinds = (TransferLoss, Discrepancy, KDLoss)
    if not (isinstance(kind, type) and issubclass(kind, kinds)):
        known = sorted(
            f'mmmuse.{name}'
            for name, module in MODELS.module_dict.items()
            if isinstance(module, type)
            and issubclass(module, kinds)
            and not getattr(module, 'reads_exits', False)
        )
        raise InputError(f'{name!r} is no loss between networks; there are {", ".join(known)}')
    if issubclass(kind, KDLoss):
        return LogitsTransfer(config, student, teacher)
    if issubclass(kind, Discrepancy):
        return DiscrepancyTransfer(config, student, teacher)
    return MODELS.build(config, default_args=dict(student=student, teacher=teacher))
