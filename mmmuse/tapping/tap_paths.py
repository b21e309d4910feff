from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Annotated, Any, NamedTuple

from torch import Tensor, nn

from mmmuse.arguments import Paths, Range, check_keys
from mmmuse.errors import InputError
from mmmuse.tapping.backbone_outputs import last_output
from mmmuse.tapping.dry_run import dry_run, is_segmenter
from mmmuse.tapping.features import FeatureSpec, NetworkSpecs
from mmmuse.tapping.proposal import propose_taps

_TAPS = {
    'modules': Paths,
    'last': str | None,
    'logits': str | None,
    'num_modules': Annotated[int, Range(least=2, most=1000)],
}


class TapPaths(NamedTuple):
    """Paths of the tapped modules: the shallow ones, the last, and that of the logits."""

    shallow: list[str]
    last: str | None
    logits: str | None

    @property
    def all(self) -> list[str]:
        """Every path, in the order of the forward; one module can be the last and that of the logits."""
        return [*self.shallow, *dict.fromkeys(filter(None, (self.last, self.logits)))]


def network_specs(
    paths: TapPaths, specs: dict[str, FeatureSpec], taps: str, image: tuple[int, int] | None = None
) -> NetworkSpecs:
    """Return shapes by role, of an image ``(H, W)``; ``taps`` is the config key of the taps."""
    shallow = tuple(specs[path] for path in paths.shallow)
    return NetworkSpecs(shallow, specs.get(paths.last), specs.get(paths.logits), taps, image=image)


def infer_specs(
    network: nn.Module, taps: Any, input_shape: Sequence[int] | None
) -> tuple[dict[str, FeatureSpec], tuple[str, ...], tuple[int, int]]:
    """Return the shape of each tap, the order in which the forward reaches them, and the image's (H, W).

    Raises:
        InputError: If two modules output the same tensor, or a tap is unusable.
    """
    order: tuple[str, ...] = ()
    image = (0, 0)

    def observe(forward: Callable[[], object], shape: tuple[int, ...]) -> dict[str, Tensor]:
        nonlocal order, image
        image = tuple(shape[1:])
        with taps:
            forward()
            order = taps.reached
            return taps.pop()

    features = dry_run(network, observe, input_shape, mode='tensor')
    for (path, feature), (other, same) in combinations(features.items(), 2):
        if feature is same:
            raise InputError(f'modules {path!r} and {other!r} output the same tensor')
    specs = {path: FeatureSpec.of(feature.shape, path, image) for path, feature in features.items()}
    return specs, order, image


def check_order(paths: TapPaths, order: Sequence[str]) -> None:
    """Refuse taps that are not in the order of the forward.

    Raises:
        InputError: Naming that order.
    """
    expected = [*paths.shallow, *filter(None, (paths.last,))]
    found = [path for path in order if path in expected]
    if found != expected:
        raise InputError(
            'the taps are given from shallow to deep, and last after them; the forward '
            f'reaches them in the order {", ".join(found)}'
        )


def check_logits(
    network: nn.Module, paths: TapPaths, specs: dict[str, FeatureSpec], name: str = 'taps'
) -> None:
    """Refuse a tap of logits whose output is something else.

    Raises:
        InputError: If it is a map of another network than a segmenter, or has not the classes of
            the network's head.
    """
    logits = specs.get(paths.logits)
    if logits is None:
        return
    path = paths.logits
    segments = is_segmenter(network)
    if logits.grid is not None and not segments:
        raise InputError(f'{name}.logits: {path!r} outputs a map or tokens, not class logits')
    if logits.grid is None and segments:
        raise InputError(f'{name}.logits: {path!r} does not output a map, the logits of each pixel')
    classes = getattr(getattr(network, 'head', None), 'num_classes', None)
    if segments:
        classes = getattr(network, 'out_channels', None)
    if classes and classes > 0 and classes != logits.channels:
        raise InputError(
            f'{name}.logits: {path!r} outputs {logits.channels} values for {classes} classes'
        )


def read_taps(
    taps: dict | str,
    network: nn.Module,
    input_shape: Sequence[int] | None,
    needs_features: bool = True,
    name: str = 'taps',
) -> TapPaths:
    """Read the taps of a config.

    Args:
        taps: ``dict(modules=[...], last=..., logits=...)``, ``'auto'``, or
            ``dict(num_modules=T)`` for the proposal of ``mmmuse wrap``; ``'last'`` for the last
            output of the backbone, and nothing else.
        network: The network, for the proposal.
        input_shape: ``(C, H, W)`` of the dry run, likewise.
        needs_features: Whether shallow modules and the last one are needed.
        name: Of the argument, for messages.

    Raises:
        InputError: If a key is unknown or missing.
    """
    if taps == 'last' and not needs_features:
        return TapPaths([], _last(network, input_shape), None)
    if isinstance(taps, str):
        if taps != 'auto':
            choices = "'auto'" if needs_features else "'auto' or 'last'"
            raise InputError(f'{name} is a dict or {choices}, got {taps!r}')
        taps = dict(num_modules=4)
    unknown = set(taps) - {'modules', 'last', 'logits', 'num_modules'}
    if unknown:
        raise InputError(
            f'{name}: unknown keys {", ".join(sorted(unknown))}; '
            'available: modules, last, logits, or only num_modules'
        )
    check_keys(name, taps, _TAPS)
    if not needs_features and not {'modules', 'num_modules'} & set(taps):
        return TapPaths([], taps.get('last'), taps.get('logits'))
    if 'modules' not in taps:
        if set(taps) - {'num_modules'}:
            raise InputError(f'{name} needs modules, the paths of the shallow modules')
        proposal = propose_taps(network, taps.get('num_modules', 4), input_shape)
        return TapPaths(list(proposal.modules), proposal.last, proposal.logits)
    if 'num_modules' in taps:
        raise InputError(f'{name} takes either modules or num_modules, not both')
    if not taps.get('last'):
        raise InputError(f'{name} needs last, the module whose output is the last feature')
    return TapPaths(list(taps['modules']), taps['last'], taps.get('logits'))


def _last(network: nn.Module, input_shape: Sequence[int] | None) -> str:
    named = getattr(network, 'default_taps', None)  # A network of another library says it itself.
    if isinstance(named, dict) and 'last' in named:
        return named['last']
    if isinstance(getattr(network, 'backbone', None), nn.Module):
        return last_output(network, input_shape)
    return propose_taps(network, 2, input_shape).last
