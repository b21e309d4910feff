"""Read a config, check it, and apply mmpretrain's flags."""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from mmengine.config import Config

from mmmuse.checkpoints.backbone_config import backbone_model
from mmmuse.checkpoints.config_file import read_config
from mmmuse.checkpoints.network_config import network_config, whole_config
from mmmuse.checkpoints.network_names import is_network_name, is_teacher_entry
from mmmuse.checkpoints.packaged_config import packaged_file
from mmmuse.checkpoints.registered_names import name_registered_types
from mmmuse.environment.requirements import check_library
from mmmuse.errors import InputError
from mmmuse.heads.variants import variant_parts
from mmmuse.tapping.loaded_order import loaded_order

from .config_keys import check_keys_are_read, file_that_contains
from .parts import check_config, check_optimizer
from .wrapped_data import check_wrapped_data


def check_at_least(args: argparse.Namespace, **least: int) -> None:
    """Check that numbers given by flags are not below a limit.

    Args:
        args: The parsed flags; None is accepted.
        **least: Limit of each by its name.

    Raises:
        InputError: If a number is below its limit.
    """
    for name, limit in least.items():
        number = getattr(args, name)
        if number is not None and not number >= limit:  # NaN is refused as well.
            raise InputError(f'--{name.replace("_", "-")} is at least {limit}, got {number}')


def load_config(path: str, options: dict) -> Config:
    """Read a config file and merge the command line's options into it.

    Args:
        path: Of the file, or ``mmmuse::folder/file.py`` for a config of an installed package.
        options: Of ``--cfg-options``.

    Raises:
        InputError: If the file is missing, or a key or the variant that the head names is unknown.
    """
    if '::' in path:
        path = str(packaged_file(path))
    elif not Path(path).is_file():
        raise InputError(f'no config file {path}')
    config = read_config(path)
    check_keys_are_read(config, path, options)
    _inline_networks(config, path, options)
    config.merge_from_dict(_inline_variant(config, options))
    name_registered_types(config)
    _note_image_order(config)
    check_library(config.get('default_scope'))
    check_config(config)
    check_wrapped_data(config)
    return config


def _inline_networks(config: Config, path: str, options: dict) -> None:
    """Replace the config files of teachers and peers by the models in them.

    A relative path starts from the file that names it, so that it does not depend on the current
    folder. A dumped config is then self-contained.
    """
    model = config.get('model')
    if not isinstance(model, dict):
        return
    peers = model.get('peers') or []
    peers = peers.values() if isinstance(peers, dict) else peers
    peers = peers if isinstance(peers, Iterable) else []  # Refused later.
    teacher = model.get('teacher')
    if isinstance(teacher, (list, tuple)):
        model['teacher'] = [
            item if is_teacher_entry(item) else dict(teacher=item) for item in teacher
        ]
        for item in model['teacher']:
            if is_teacher_entry(item):
                _inline(item, 'teacher', path, 'image_order')
    elif 'model.teacher' not in options:
        _inline(model, 'teacher', path, 'teacher_image_order' if _is_offline(model) else None)
    for peer in peers:
        if isinstance(peer, dict):
            _inline(peer, 'model', path)
    name = model.get('student')
    if isinstance(name, str) and _kind(model) == 'FeatureDistiller':
        model['student'] = backbone_model(name if '::' in name else _from_its_file(name, path))


def _inline(part: dict, key: str, path: str, order_key: str | None = None) -> None:
    """Replace the config file of one network by the model in it.

    A network of another library keeps its name; the folder in it is found from the file as well.

    Args:
        part: That names the network.
        key: Of the name.
        path: Of the config file.
        order_key: Key for the order of the channels that the network's own pipeline loads; None for a part
            that has none.
    """
    name = part.get(key)
    if is_network_name(name):
        owner, key = (name, 'name') if isinstance(name, Mapping) else (part, key)
        owner[key] = _with_folder(owner[key], path)
    elif isinstance(name, str):
        file = name if '::' in name else _from_its_file(name, path)
        if order_key is not None:
            _note_order(part, order_key, whole_config(file))
        part[key] = network_config(file)


def _with_folder(name: str, path: str) -> str:
    """Return the name of a network whose folder is relative to the config file, if it is one."""
    library, _, folder = name.partition('::')
    file = file_that_contains(name, path)
    if library != 'transformers' or file is None or not (file.parent / folder).is_dir():
        return name
    return f'{library}::{file.parent / folder}'


def _note_image_order(config: Config) -> None:
    """Tell an offline distiller the order of the channels that the pipeline loads."""
    model = config.get('model')
    if isinstance(model, dict) and model.get('teacher') is not None and _is_offline(model):
        _note_order(model, 'image_order', config)


def _is_offline(model: Mapping) -> bool:
    """Return whether a model is one of our offline distillers; a user's own may lack the option."""
    return _kind(model) in ('FeatureDistiller', 'OfflineDistiller')


def _kind(model: Mapping) -> str:
    kind = model.get('type')
    return str(getattr(kind, '__name__', kind)).split('.')[-1]


def _note_order(model: dict, key: str, config: Mapping | None) -> None:
    order = None if config is None else loaded_order(config)
    if order is not None:
        model.setdefault(key, order)


def _has_teacher_checkpoint(model: Mapping) -> bool:
    teacher = model.get('teacher')
    entries = teacher if isinstance(teacher, (list, tuple)) else [teacher]
    return bool(model.get('teacher_checkpoint')) or any(
        isinstance(entry, Mapping) and entry.get('checkpoint') for entry in entries
    )


def _inline_variant(config: Config, options: dict) -> dict:
    """Put the head and the neck of a named variant into the config; return the other options.

    Options for single keys of the head can then be merged into it, and a dumped config is
    self-contained.
    """
    model = config.get('model')
    if not isinstance(model, dict) or 'student' not in model:
        return options
    name = options.get('model.head', model.get('head'))
    if not isinstance(name, str):
        return options
    model['head'], model['neck'] = variant_parts(name, model.get('neck'))
    return {key: value for key, value in options.items() if key != 'model.head'}


def _from_its_file(name: str, path: str) -> str:
    """Resolve a path relative to the config file, or the base of it, that contains the path."""
    file = file_that_contains(name, path)
    return str(file.parent / name) if file else name


def apply_shared_flags(config: Config, args: argparse.Namespace) -> None:
    """Set launcher, work dir and loader defaults as mmpretrain's tools do."""
    config.launcher = args.launcher
    if args.trust_checkpoint and _has_teacher_checkpoint(config.get('model', {})):
        config.model.trust_teacher = True
    if args.work_dir is not None:
        config.work_dir = args.work_dir
    elif config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = config.get(name)
        if loader is None:
            continue
        loader.setdefault('pin_memory', torch.cuda.is_available() and not args.no_pin_memory)
        loader.setdefault('persistent_workers', loader.get('num_workers', 0) > 0)
        if config.get('default_scope') not in ('mmdet', 'mmseg'):  # Their batches are lists.
            loader.setdefault('collate_fn', dict(type='default_collate'))
    if args.launcher != 'none' and not torch.cuda.is_available():
        # MMEngine's defaults for a GPU, without the device.
        config.model_wrapper_cfg = {
            'type': 'MMDistributedDataParallel',
            'find_unused_parameters': config.get('find_unused_parameters', False),
            'broadcast_buffers': False,
            **config.get('model_wrapper_cfg', {}),
            'device_ids': None,
        }


def apply_training_flags(config: Config, args: argparse.Namespace) -> None:
    """Apply the flags of ``mmmuse train``.

    Raises:
        InputError: If ``--auto-scale-lr`` has no base batch size to scale from, or if the optimizer is unknown.
    """
    apply_shared_flags(config, args)
    check_optimizer(config)
    if args.no_validate:
        config.val_cfg = config.val_dataloader = config.val_evaluator = None
        hooks = config.get('default_hooks', {})
        if hooks.get('checkpoint'):
            hooks.checkpoint.pop('save_best', None)
    if args.amp:
        # bfloat16 needs no loss scaling; GPUs without it take MMEngine's float16.
        bfloat16 = not torch.cuda.is_available() or torch.cuda.is_bf16_supported()
        config.optim_wrapper.type = 'mmmuse.BFloat16OptimWrapper' if bfloat16 else 'AmpOptimWrapper'
        if bfloat16:
            for key in ('loss_scale', 'dtype', 'use_fsdp'):
                config.optim_wrapper.pop(key, None)
    if args.auto_scale_lr:
        if 'base_batch_size' not in config.get('auto_scale_lr', {}):
            raise InputError('--auto-scale-lr needs auto_scale_lr.base_batch_size in the config')
        config.auto_scale_lr.enable = True
    if args.resume is not None:
        config.resume = True
        config.load_from = None if args.resume == 'auto' else args.resume
    if args.preemptible:
        hooks = config.get('custom_hooks') or []
        if not any('PreemptionHook' in str(hook.get('type')) for hook in hooks):
            config.custom_hooks = [*hooks, dict(type='mmmuse.PreemptionHook')]
