"""Child registries of MMEngine's, scope ``mmmuse``.

MMEngine imports this file for any ``mmmuse.X`` in a config, and the ``locations`` at the first
look-up, so that no ``custom_imports`` is needed.
"""

from mmengine import registry
from mmengine.registry import Registry

__all__ = [
    'DATASETS',
    'DATA_SAMPLERS',
    'FUNCTIONS',
    'HOOKS',
    'METRICS',
    'MODELS',
    'OPTIM_WRAPPERS',
    'OPTIM_WRAPPER_CONSTRUCTORS',
    'PARAM_SCHEDULERS',
    'TRANSFORMS',
]


def _child(parent: Registry, *packages: str) -> Registry:
    locations = [f'mmmuse.{package}' for package in packages]
    return Registry(parent.name, scope='mmmuse', parent=parent, locations=locations)


MODELS = _child(
    registry.MODELS,
    'backbones',
    'critics',
    'estimators',
    'losses',
    'necks',
    'heads',
    'distillers',
    'datasets',
    'detection',
)
DATASETS = _child(registry.DATASETS, 'datasets', 'detection')
DATA_SAMPLERS = _child(registry.DATA_SAMPLERS, 'samplers')
FUNCTIONS = _child(registry.FUNCTIONS, 'datasets')
HOOKS = _child(registry.HOOKS, 'hooks')
METRICS = _child(registry.METRICS, 'metrics', 'detection')
OPTIM_WRAPPERS = _child(registry.OPTIM_WRAPPERS, 'optim')
OPTIM_WRAPPER_CONSTRUCTORS = _child(registry.OPTIM_WRAPPER_CONSTRUCTORS, 'optim')
PARAM_SCHEDULERS = _child(registry.PARAM_SCHEDULERS, 'optim')
TRANSFORMS = _child(registry.TRANSFORMS, 'datasets')
