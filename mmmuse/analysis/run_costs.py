"""Parameters and multiply-adds of the exits of a run, from its config only."""

from importlib.util import find_spec
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.registry import Registry

from mmmuse.distillers import SelfDistiller
from mmmuse.errors import InputError
from mmmuse.export.complexity import real_complexity
from mmmuse.export.data import image_shape
from mmmuse.export.exit_network import exit_network, exits_of, num_exits
from mmmuse.export.trained import build_distiller, dense_config, trains_detector, trains_segmenter
from mmmuse.registry import MODELS

_READ = ('model', 'data_preprocessor', 'val_dataloader', 'test_dataloader', 'default_scope')


class RunCost(NamedTuple):
    """The cost of one exit as a plain network.

    Attributes:
        module: Path of the module that the exit follows.
        params: Parameters.
        macs: Multiply-adds for one image.
    """

    module: str
    params: int
    macs: int


def costs_of_run(config: Config) -> tuple[dict[int, RunCost], tuple[int, int, int]]:
    """Count parameters and multiply-adds of every exit, the full network last.

    The model is built with random weights.

    Args:
        config: As a run has dumped it, of a classifier or a detector.

    Returns:
        Costs by number of the exit, and the shape ``(C, H, W)`` of the image.

    Raises:
        InputError: If the model has no exits, or a type in it that is not registered.
    """
    read = _registered({key: config[key] for key in _READ if config.get(key) is not None})
    config = Config(read)
    shape = image_shape(config)
    if trains_detector(config) or trains_segmenter(config):
        model = dense_config(config, 'mmdet' if trains_detector(config) else 'mmseg')
        distiller = MODELS.build(model)
    else:
        model, distiller = config.model, build_distiller(config)
    if not isinstance(distiller, SelfDistiller) or not exits_of(distiller):
        raise InputError('the run has no exits')
    modules = [*distiller.tap_paths.shallow, distiller.tap_paths.last]
    costs = {}
    for number in [*exits_of(distiller), num_exits(distiller)]:
        cost = real_complexity(exit_network(model, distiller, number), shape)
        costs[number] = RunCost(modules[number - 1], cost.params, cost.flops)
    return costs, shape


def _registered(config: Any) -> Any:
    """Return a copy of a config whose types are looked up in registries only.

    MMEngine imports a type that is not a registered name by its path, and ``os.system`` is one.
    """
    if isinstance(config, (list, tuple)):
        return [_registered(part) for part in config]
    if not isinstance(config, dict):
        return config
    copy = {key: _registered(value) for key, value in config.items()}
    if isinstance(copy.get('type'), str):
        copy['type'] = _registered_type(copy['type'])
    return copy


def _registered_type(kind: str) -> str:
    scope, _, rest = kind.partition('.')
    name = rest.rpartition('.')[2]
    if not rest:
        importable = find_spec(kind) is not None if kind.isidentifier() else True
    else:  # A config with imports is dumped with the whole path of each class.
        importable = scope not in _scopes()
        kind = f'{scope}.{name}'
    if importable:
        raise InputError(f'the type {kind[:80]!r} is not registered in a known package')
    return kind


def _scopes() -> set[str]:
    root: Registry = MODELS
    while root.parent is not None:
        root = root.parent
    return {root.scope, 'mmmuse', 'mmpretrain', 'mmdet', 'mmcv', 'mmseg', *root.children}
