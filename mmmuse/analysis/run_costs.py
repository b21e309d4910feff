"""Parameters and multiply-adds of the exits of a run, from its config only."""

from importlib.util import find_spec
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.registry import Registry

from mmmuse.errors import InputError
from mmmuse.export.data import image_shape
from mmmuse.export.exit_table import exit_costs
from mmmuse.export.trained import build_with_exits
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
        config: As a run has dumped it.

    Returns:
        Costs by number of the exit, and the shape ``(C, H, W)`` of the image.

    Raises:
        InputError: If the model has no exits, or a type in it that is not registered.
    """
    read = _registered({key: config[key] for key in _READ if config.get(key) is not None})
    config = Config(read)
    model, distiller = build_with_exits(config)
    shape = image_shape(config)
    costs = {
        cost.number: RunCost(cost.module, cost.real.params, cost.real.flops)
        for cost in exit_costs(model, distiller, shape)
    }
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
