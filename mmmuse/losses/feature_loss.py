from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from mmmuse.errors import InputError
from mmmuse.tapping.features import FeatureSpec, NetworkSpecs, Step

from .distill_loss import DistillLoss


class FeatureLoss(DistillLoss):
    """A loss that compares modules of the learner, each with a feature of the source.

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred.
        loss_weight: See :class:`DistillLoss`.
        modules: Which modules of the learner are compared, from 1 (the first tap) to T (the
            last). By default all T of a loss with ``module_by_module`` between two networks,
            else the shallow ones.
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
        loss_weight: float,
        modules: Sequence[int] | None = None,
        **weights: float,
    ) -> None:
        super().__init__(learner, source, loss_weight, **weights)
        paired = self.module_by_module and not self.within_one_network
        count = len(learner.modules) if paired else len(learner.shallow)
        taps = learner.shallow if self.within_one_network else learner.modules
        self.modules = _chosen_modules(self.name, modules, count, len(taps))
        same_number = modules is not None or len(learner.modules) == len(source.modules)
        if paired and (not same_number or max(self.modules) > len(source.modules)):
            raise InputError(
                f'{self.name} compares modules {self.modules} of both networks, and the student '
                f'has {len(learner.modules)} taps, the teacher {len(source.modules)}: give both '
                'as many, or choose with modules=[...]'
            )
        self._paired = paired
        self.local_specs = [learner.modules[i - 1] for i in self.modules]
        self.target_specs = [self._target(source, i) for i in self.modules]
        if 'maps' in self.reads:
            for i, local, target in zip(self.modules, self.local_specs, self.target_specs):
                _check_map(self.name, i, local)
                _check_map(self.name, i if paired else len(source.modules), target)

    def _target(self, network: object, module: int) -> object:
        return network.modules[module - 1] if self._paired else network.last

    def pairs(self, step: Step) -> list[tuple[Tensor, Tensor]]:
        """Return each compared feature with its target."""
        return [(step.learner.modules[i - 1], self._target(step.source, i)) for i in self.modules]


def _check_map(name: str, module: int, spec: FeatureSpec) -> None:
    if spec.grid is None:
        path = f' ({spec.path!r})' if spec.path else ''
        raise InputError(
            f'{name} compares maps, and module {module} of a network{path} puts out a vector: '
            'tap a module before the pooling, or choose another loss'
        )


def _chosen_modules(
    name: str, modules: Sequence[int] | None, count: int, number_of_taps: int
) -> list[int]:
    """Return which modules a loss compares, from 1: the config's choice, or the first ``count``."""
    if not number_of_taps or (modules is None and count == 0):
        raise InputError(f'{name} compares features: set taps.modules and taps.last')
    if modules is None:
        return list(range(1, count + 1))
    if (
        not isinstance(modules, Sequence)
        or not modules
        or not all(isinstance(i, int) and 1 <= i <= number_of_taps for i in modules)
    ):
        raise InputError(
            f'{name}: modules are numbers from 1 to {number_of_taps}, the taps of the '
            f'student, got {modules}'
        )
    return list(modules)
