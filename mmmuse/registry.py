"""Child registries of MMEngine's, scope ``mmmuse``.

MMEngine imports this file by itself for any ``mmmuse.X`` in a config, and the
``locations`` when something is first looked up; no ``custom_imports`` is needed.
"""

from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import FUNCTIONS as MMENGINE_FUNCTIONS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import PARAM_SCHEDULERS as MMENGINE_PARAM_SCHEDULERS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
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

MODELS = Registry(
    'model',
    scope='mmmuse',
    parent=MMENGINE_MODELS,
    locations=[
        'mmmuse.backbones',
        'mmmuse.critics',
        'mmmuse.estimators',
        'mmmuse.losses',
        'mmmuse.necks',
        'mmmuse.heads',
        'mmmuse.distillers',
        'mmmuse.datasets',
        'mmmuse.detection',
    ],
)
DATASETS = Registry(
    'dataset',
    scope='mmmuse',
    parent=MMENGINE_DATASETS,
    locations=['mmmuse.datasets', 'mmmuse.detection'],
)
DATA_SAMPLERS = Registry(
    'data sampler', scope='mmmuse', parent=MMENGINE_DATA_SAMPLERS, locations=['mmmuse.samplers']
)
FUNCTIONS = Registry(
    'function', scope='mmmuse', parent=MMENGINE_FUNCTIONS, locations=['mmmuse.datasets']
)
HOOKS = Registry('hook', scope='mmmuse', parent=MMENGINE_HOOKS, locations=['mmmuse.hooks'])
METRICS = Registry(
    'metric',
    scope='mmmuse',
    parent=MMENGINE_METRICS,
    locations=['mmmuse.metrics', 'mmmuse.detection'],
)
OPTIM_WRAPPERS = Registry(
    'optim_wrapper', scope='mmmuse', parent=MMENGINE_OPTIM_WRAPPERS, locations=['mmmuse.optim']
)
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    scope='mmmuse',
    parent=MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
    locations=['mmmuse.optim'],
)
PARAM_SCHEDULERS = Registry(
    'parameter scheduler',
    scope='mmmuse',
    parent=MMENGINE_PARAM_SCHEDULERS,
    locations=['mmmuse.optim'],
)
TRANSFORMS = Registry(
    'transform', scope='mmmuse', parent=MMENGINE_TRANSFORMS, locations=['mmmuse.detection']
)
