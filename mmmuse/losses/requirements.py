"""What losses require of the networks that they compare."""

from collections.abc import Sequence

from mmmuse.errors import InputError
from mmmuse.tapping.features import FeatureSpec, NetworkSpecs


def check_reads(
    name: str, reads: frozenset[str], learner: NetworkSpecs, source: NetworkSpecs
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


def check_map(name: str, module: int, spec: FeatureSpec) -> None:
    if spec.grid is None:
        path = f' ({spec.path!r})' if spec.path else ''
        raise InputError(
            f'{name} compares maps, and module {module} of a network{path} puts out a vector: '
            'tap a module before the pooling, or choose another loss'
        )


def chosen_modules(
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
