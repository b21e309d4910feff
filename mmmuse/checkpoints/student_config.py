"""The plain config of a distilled network, for programs that do not know mmmuse."""

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from mmengine.config import Config

from .backbone_config import backbone_model
from .network_config import network_config
from .plain_data import per_sample
from .registered_names import name_registered_types
from .runner_keys import runner_keys

_OWN = 'mmmuse.'
# Of the run, not of the network.
_OF_THE_RUN = {'work_dir', 'launcher', 'load_from', 'resume'}
_BATCHED_ONLY = ('num_views', 'fixed_views')
# Parts of mmmuse with the part of a library that they replace, and their own arguments.
_REPLACED: dict[str, tuple[str, tuple[str, ...]]] = {
    'mmmuse.SafeCheckpointHook': ('CheckpointHook', ()),
    'mmmuse.BFloat16OptimWrapper': ('AmpOptimWrapper', ()),
    'mmmuse.LoadCheckedImage': ('LoadImageFromFile', ('unreadable', 'max_pixels')),
    'mmmuse.CheckedCocoDataset': ('mmdet.CocoDataset', ()),
    'mmmuse.ZeroCocoMetric': ('mmdet.CocoMetric', ()),
    'mmmuse.ClassIoUMetric': ('mmseg.IoUMetric', ()),
    'mmmuse.ExitAccuracy': ('Accuracy', ('prefix',)),
}
_METRICS_OF_EXITS = {
    'mmmuse.ExitAccuracy',
    'mmmuse.ExitDetectionMetric',
    'mmmuse.ExitMetric',
    'mmmuse.ExitSegmentationMetric',
}
_HEADER = """# The {what} as a plain config, written with the checkpoints of a distilled run: no exits and no losses of
# mmmuse. The other parts of mmmuse that are left (a backbone, a data set) need "import mmmuse".
"""
# The names of a backbone's weights are those in any model that has it.
_BACKBONE_HEADER = """# The backbone of a run of mmmuse.FeatureDistiller as a plain model of mmpretrain, without a head. Another config reads
# its weights by backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='epoch_1.pth', prefix='backbone.')), or
# without a prefix from epoch_1.backbone.pth.
"""
_OF_A_RUN = re.compile(
    rb'# The .* as a plain (config, written with the checkpoints|model of mmpretrain)'
)


def student_configs(config: Config) -> dict[str, str]:
    """Return the text of a plain config of each network that a distilled run trains.

    Model, data, evaluators and schedule are those of the run. What mmmuse adds is left out, and its
    data sets and hooks are replaced by those of the libraries where these have them.

    Args:
        config: Complete config of the run.

    Returns:
        Text by file name: ``student.py``; in online distillation that is the first peer, and each
        peer has a ``student.NAME.py``. A network that is given as a built model has none.
    """
    content = config.to_dict()
    name_registered_types(content)
    model = content.get('model') or {}
    if str(model.get('type')).split('.')[-1] == 'FeatureDistiller':
        return _backbone_config(content)
    return {
        name: _HEADER.format(what=what) + Config(_plain(content, network)).pretty_text
        for name, what, network in _networks(model)
    }


def is_student_config(start: bytes) -> bool:
    """Return whether a file that starts so is one of :func:`student_configs`."""
    return _OF_A_RUN.match(start) is not None


def _backbone_config(config: dict) -> dict[str, str]:
    model = config['model']
    if not isinstance(model.get('student'), (Mapping, str)):
        return {}
    network = backbone_model(model['student'])
    name_registered_types(network)
    preprocessor = next(
        (
            part['data_preprocessor']
            for part in (model, config, network)
            if part.get('data_preprocessor')
        ),
        {},
    )
    plain = {key: preprocessor[key] for key in ('mean', 'std') if preprocessor.get(key)}
    swaps = any(preprocessor.get(key) for key in ('to_rgb', 'bgr_to_rgb', 'rgb_to_bgr'))
    network['data_preprocessor'] = dict(type='ClsDataPreprocessor', to_rgb=swaps, **plain)
    content = dict(default_scope='mmpretrain', model=_replaced(network))
    return {'student.py': _BACKBONE_HEADER + Config(content).pretty_text}


def _networks(model: Mapping) -> Iterator[tuple[str, str, dict]]:
    """Yield file name, description and config of each network of a distiller's config."""
    if isinstance(model.get('student'), (Mapping, str)):
        yield 'student.py', 'student', network_config(model['student'])
    peers = model.get('peers') or {}
    if isinstance(peers, Mapping):
        peers = [{**peer, 'name': name} for name, peer in peers.items()]
    for i, peer in enumerate(peers):
        if not isinstance(peer.get('model'), (Mapping, str)):
            continue
        network = network_config(peer['model'])
        if i == 0:
            yield 'student.py', f'student, peer {peer["name"]},', network
        yield f'student.{peer["name"]}.py', f'peer {peer["name"]}', network


def _plain(config: dict, network: dict) -> dict:
    config = deepcopy(config)
    distiller = config.pop('model')
    # The other keys are variables, which the text of the config has used.
    read = runner_keys(config) - _OF_THE_RUN
    config = {key: value for key, value in config.items() if key in read}
    network = Config(network).to_dict()
    name_registered_types(network)
    preprocessors = (network, distiller, config)
    config['data_preprocessor'] = next(
        (part['data_preprocessor'] for part in preprocessors if part.get('data_preprocessor')), None
    )
    plain_evaluators(config)
    _hooks(config)
    _constructor(config)
    _paths(config)
    config = per_sample(config)
    preprocessor = config.pop('data_preprocessor')
    for key in _BATCHED_ONLY:
        if (preprocessor or {}).get('type') != 'mmmuse.BatchedDataPreprocessor':
            (preprocessor or {}).pop(key, None)
    sampler = (config.get('train_dataloader') or {}).get('sampler') or {}
    if str(sampler.get('type')).startswith(_OWN):
        config['train_dataloader']['sampler'] = dict(type='DefaultSampler', shuffle=True)
    network.pop('data_preprocessor', None)
    if preprocessor is not None:
        network['data_preprocessor'] = preprocessor
    return _replaced(dict(model=network, **config))


def plain_evaluators(config: dict) -> None:
    """Leave out the metrics of exits and peers, in place.

    Where these are all, the metrics that they apply to exits or peers take their place.

    Args:
        config: Content of a config, with named types.
    """
    for split in ('val', 'test'):
        evaluators = config.get(f'{split}_evaluator')
        if not evaluators:
            continue
        evaluators = [evaluators] if isinstance(evaluators, dict) else evaluators
        plain: list[dict] = []
        for evaluator in evaluators:
            metrics = evaluator.get('metric')
            if evaluator.get('type') == 'mmmuse.PeerMetric':
                plain += [metrics] if isinstance(metrics, dict) else metrics
            elif evaluator.get('type') not in _METRICS_OF_EXITS:
                plain.append(evaluator)
        config[f'{split}_evaluator'] = plain or [_metric_of_exit(evaluators[0])]


def _metric_of_exit(evaluator: dict) -> dict:
    metrics = evaluator.get('metric', evaluator)
    return _replaced(metrics if isinstance(metrics, dict) else metrics[0])


def _hooks(config: dict) -> None:
    def stays(hook: Any) -> bool:
        kind = str(hook.get('type')) if isinstance(hook, dict) else ''
        return not kind.startswith(_OWN) or kind in _REPLACED

    if isinstance(config.get('default_hooks'), dict):
        hooks = config['default_hooks'].items()
        config['default_hooks'] = {name: hook for name, hook in hooks if stays(hook)}
    if config.get('custom_hooks'):
        config['custom_hooks'] = list(filter(stays, config['custom_hooks']))
    imports = config.get('custom_imports') or {}
    if isinstance(imports.get('imports'), list):
        imports['imports'] = [
            name for name in imports['imports'] if name.partition('.')[0] != 'mmmuse'
        ]


def _constructor(config: dict) -> None:
    """Give the optimizer the constructor of the plain network."""
    wrapper = config.get('optim_wrapper') or {}
    if wrapper.get('constructor') == 'mmmuse.StudentConstructor':
        wrapper['constructor'] = wrapper['paramwise_cfg'].pop('student_constructor')


def _paths(config: dict) -> None:
    """Remove the student's prefix from module paths."""
    for key in ('activation_checkpointing', 'efficient_conv_bn_eval'):
        paths = config.get(key)
        if paths:
            paths = [paths] if isinstance(paths, str) else paths
            config[key] = [path.removeprefix('student.') for path in paths]


def _replaced(value: Any) -> Any:
    """Replace parts of mmmuse by those of the libraries."""
    if isinstance(value, dict):
        value = {key: _replaced(item) for key, item in value.items()}
        kind, own = _REPLACED.get(str(value.get('type')), (None, ()))
        if kind is not None:
            if value['type'] == 'mmmuse.BFloat16OptimWrapper':
                value['dtype'] = 'bfloat16'
            value = {key: item for key, item in value.items() if key not in own}
            value['type'] = kind
        return value
    if isinstance(value, (list, tuple)):
        return type(value)(map(_replaced, value))
    return value
