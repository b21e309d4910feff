"""Read a config, refuse keys that nothing reads, and apply mmpretrain's flags."""

import argparse
import ast
import difflib
import inspect
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.runner import Runner

from mmmuse.errors import InputError

# What MMEngine's runner and tools read from the config beside the runner's own arguments.
_READ_ELSEWHERE = {
    'activation_checkpointing',
    'compile',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'runner_type',
    'sync_bn',
    'tta_model',
    'tta_pipeline',
}
_READ_KEYS = (set(inspect.signature(Runner).parameters) - {'cfg'}) | _READ_ELSEWHERE
_READ_SUBKEYS = {
    'env_cfg': {'cudnn_benchmark', 'dist_cfg', 'mp_cfg', 'resource_limit'},
    'auto_scale_lr': {'base_batch_size', 'enable'},
}


def add_shared_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that ``train.py`` and ``test.py`` share with mmpretrain's tools."""
    parser.add_argument('--work-dir', help='folder for logs and checkpoints')
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument('--no-pin-memory', action='store_true', help='do not pin batches')
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='load a checkpoint that holds more than weights; it may run code',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='override config keys, e.g. train_cfg.max_epochs=3',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def load_config(path: str, options: dict) -> Config:
    """Read a config file and merge the command line's options into it.

    Raises:
        InputError: If there is no such file, or a key is read by nothing.
    """
    if not Path(path).is_file():
        raise InputError(f'no config file {path}')
    config = Config.fromfile(path)
    refuse_unread_keys(config, path, options)
    config.merge_from_dict(options)
    return config


def refuse_unread_keys(config: Config, path: str, options: dict) -> None:
    """Refuse top-level keys of a config file, or of ``--cfg-options``, that nothing reads.

    A variable that the file itself uses is read; so are variables of base files.

    Raises:
        InputError: Naming the key and the nearest one that is read.
    """
    for key in options:
        top, _, rest = key.partition('.')
        if top not in _READ_KEYS:
            raise InputError(
                _unread(
                    top,
                    'a variable of the config file, used before the command line is read'
                    if top in config
                    else None,
                )
            )
        sub = rest.partition('.')[0]
        if sub and sub not in _READ_SUBKEYS.get(top, {sub}):
            raise InputError(_unread(f'{top}.{sub}'))
    assigned, used = (
        _names(Path(path).read_text()) if path.endswith('.py') else (set(config), set())
    )
    for key in sorted(assigned - used - _READ_KEYS):
        if key in config:
            raise InputError(_unread(key))
    for top, subkeys in _READ_SUBKEYS.items():
        for sub in set(config.get(top) or ()) - subkeys:
            raise InputError(_unread(f'{top}.{sub}'))


def _names(source: str) -> tuple[set[str], set[str]]:
    """Return the names that a config file assigns, and those that it uses."""
    tree = ast.parse(source)
    assigned = {
        target.id
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in getattr(node, 'targets', None) or [node.target]
        if isinstance(target, ast.Name)
    }
    used = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    return assigned, used


def _unread(key: str, why: str | None = None) -> str:
    nearest = difflib.get_close_matches(key, _READ_KEYS, n=1, cutoff=0.6)
    hint = f'; did you mean {nearest[0]!r}?' if nearest and nearest[0] != key else ''
    return f'nothing reads the config key {key!r}{f" ({why})" if why else ""}{hint}'


def apply_shared_flags(config: Config, args: argparse.Namespace) -> None:
    """Set launcher, work dir and loader defaults as mmpretrain's tools do."""
    config.launcher = args.launcher
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
        loader.setdefault('collate_fn', dict(type='default_collate'))
    if args.launcher != 'none' and not torch.cuda.is_available():
        config.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel', device_ids=None, **config.get('model_wrapper_cfg', {})
        )


def apply_training_flags(config: Config, args: argparse.Namespace) -> None:
    """Set what ``train.py``'s flags ask for.

    Raises:
        InputError: If ``--auto-scale-lr`` has no base batch size to scale from.
    """
    apply_shared_flags(config, args)
    if args.no_validate:
        config.val_cfg = config.val_dataloader = config.val_evaluator = None
        hooks = config.get('default_hooks', {})
        if hooks.get('checkpoint'):
            hooks.checkpoint.pop('save_best', None)
    if args.amp:
        # bfloat16 needs no loss scaling; GPUs without it take MMEngine's float16.
        bfloat16 = not torch.cuda.is_available() or torch.cuda.is_bf16_supported()
        config.optim_wrapper.type = 'mmmuse.BFloat16OptimWrapper' if bfloat16 else 'AmpOptimWrapper'
    if args.auto_scale_lr:
        if 'base_batch_size' not in config.get('auto_scale_lr', {}):
            raise InputError('--auto-scale-lr needs auto_scale_lr.base_batch_size in the config')
        config.auto_scale_lr.enable = True
    if args.resume is not None:
        config.resume = True
        config.load_from = None if args.resume == 'auto' else args.resume
