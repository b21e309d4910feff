"""What losses require of the networks that they compare."""

from collections.abc import Sequence

from mmmuse.errors import InputError
from mmmuse.functional.views import MOST_PREFIX_TOKENS
from mmmuse.tapping.features import FeatureSpec, NetworkSpecs


def check_reads(
    name: str, reads: frozenset[str], learner: NetworkSpecs, source: NetworkSpecs
) -> None:
    """Refuse networks that lack what a loss reads."""
    for specs in (learner, source):
        if 'logits' in reads and specs.logits is None:
            raise InputError(
                f'{name} compares class logits: {specs.no_logits or f"set {specs.taps}.logits"}'
            )
        if 'vector' in reads and specs.last is None:
            raise InputError(f'{name} reads the last feature: set {specs.taps}.last')
        if 'maps' in reads and not specs.modules:
            raise InputError(
                f'{name} compares features: set {specs.taps}.modules and {specs.taps}.last'
            )
    if 'shallow' in reads and not learner.shallow:
        raise InputError(f'{name} reads the shallow features: set {learner.taps}.modules')
    if 'logits' in reads and learner.num_classes != source.num_classes:
        raise InputError(
            f'{name} compares class logits, and the networks differ in classes: '
            f'{learner.num_classes} ({learner.taps}) and {source.num_classes} ({source.taps})'
        )
    if {'logits', 'labels'} <= reads and any(specs.logits.grid for specs in (learner, source)):
        raise InputError(
            f'{name} reads one class label for each image, and the logits of a segmenter are those of '
            'pixels: choose mmmuse.KDLoss'
        )
    if 'logits' in reads and (learner.logits.grid is None) != (source.logits.grid is None):
        raise InputError(
            f'{name} compares class logits, and only one of the networks is a segmenter, whose logits '
            'are those of pixels'
        )
    if 'ensemble' in reads and not learner.ensemble:
        raise InputError(
            f"{name} reads the mean of all peers' logits: use it in mmmuse.OnlineDistiller, with "
            'taps.logits and the same classes for every peer'
        )


def check_heads(name: str, learner: NetworkSpecs, source: NetworkSpecs) -> None:
    """Refuse detectors whose dense heads cannot be compared box by box."""
    for network, specs in (('student', learner), ('teacher', source)):
        if specs.head is None:
            raise InputError(
                f'{name} reads the dense head of a single-stage detector of mmdet, its bbox_head, in '
                f'mmmuse.OfflineDistiller, and there is none beside {specs.taps}'
            )
        if specs.head.excludes:
            raise InputError(
                f'{name} compares the sigmoid of class scores, and the {specs.head.kind} of the '
                f'{network} has a softmax'
            )
    own, other = learner.head, source.head
    heads = f'of a {own.kind} (student) and a {other.kind} (teacher)'
    for what, one, its, remedy in (
        (
            'levels of strides',
            own.strides,
            other.strides,
            'the levels of both pyramids are the same',
        ),
        ('classes', own.num_classes, other.num_classes, 'both are trained on the same classes'),
        ('boxes at a location', own.num_anchors, other.num_anchors, 'both have as many anchors'),
    ):
        if one != its:
            one, its = (', '.join(map(str, x)) if isinstance(x, tuple) else x for x in (one, its))
            raise InputError(
                f'{name} compares heads box by box, and those {heads} have {one} and {its} {what}: '
                f'take a teacher where {remedy}'
            )


def check_kind(
    name: str,
    reads: frozenset[str],
    reads_multi_label: bool,
    learner: NetworkSpecs,
    source: NetworkSpecs,
) -> None:
    """Refuse logits, or labels, of another kind than a loss reads."""
    kinds = {learner.kind, source.kind}
    if 'margin' in kinds and 'logits' in reads:
        raise InputError(
            f'{name} compares class logits, and those of a margin head (ArcFaceClsHead) are shifted '
            'by the margin in training: leave this loss out'
        )
    if len(kinds) > 1 and 'logits' in reads:
        one, other = (learner, source) if learner.kind == 'labels' else (source, learner)
        raise InputError(
            f'{name} compares class logits, and they mean different things: those of {one.taps} are for '
            f'a sigmoid (multi-label), those of {other.taps} for a softmax'
        )
    if 'labels' in kinds and 'logits' in reads and not reads_multi_label:
        raise InputError(
            f'{name} compares the softmax of logits, and the head is multi-label: use '
            'mmmuse.BinaryKDLoss'
        )
    if 'labels' in kinds and 'labels' in reads:
        raise InputError(
            f'{name} reads one class label for each image, and the head is multi-label'
        )


def check_map(name: str, module: int, spec: FeatureSpec) -> None:
    if spec.grid is None:
        path = f' ({spec.path!r})' if spec.path else ''
        raise InputError(
            f'{name} compares maps, and the output of module {module} of a network{path} is a vector: '
            'tap a module before the pooling, or choose another loss'
        )
    check_square(name, spec)


def check_square(name: str, spec: FeatureSpec) -> None:
    """Refuse tokens that are not a square grid after a few prefix tokens."""
    if spec.num_prefix_tokens <= MOST_PREFIX_TOKENS:
        return
    path = f'of {spec.path!r} ' if spec.path else ''
    tokens = spec.num_prefix_tokens + spec.grid[0] * spec.grid[1]
    raise InputError(
        f'{name} reads maps, and the {tokens} tokens {path}are not a square grid after at most '
        f'{MOST_PREFIX_TOKENS} prefix tokens: use square images, or tap a module that outputs maps'
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
        or len(set(modules)) < len(modules)
    ):
        raise InputError(
            f'{name}: modules are numbers from 1 to {number_of_taps}, each once, the taps of the '
            f'learning network, got {modules}'
        )
    return list(modules)
