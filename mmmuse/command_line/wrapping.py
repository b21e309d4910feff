"""Write a distilled config that inherits from a plain one."""

import os
from contextlib import suppress
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmmuse.checkpoints.config_file import read_config
from mmmuse.checkpoints.network_config import packaged_config
from mmmuse.errors import InputError
from mmmuse.heads.variants import variant_parts
from mmmuse.registry import MODELS, look_up
from mmmuse.tapping.dry_run import image_channels
from mmmuse.tapping.image_size import config_size
from mmmuse.tapping.logits_kind import is_multi_label_type
from mmmuse.tapping.proposal import TapProposal, propose_taps


def load_plain_config(name: str) -> Config:
    """Load a config by path or as ``mmpretrain::folder/file.py``.

    Raises:
        InputError: If it is missing, cannot be inherited from, has no model, or its model is a
            distiller.
    """
    if '::' in name:
        config = packaged_config(name)
    elif not Path(name).is_file():
        raise InputError(f'no config file {name}')
    else:
        config = read_config(name)
        if Config._is_lazy_import(name):
            raise InputError(
                f'{name} is a pure-Python config (read_base), which a config file cannot inherit '
                'from; wrap the text config of the same name'
            )
    if not isinstance(config.get('model'), dict):
        raise InputError(f'{name} has no model to wrap')
    if str(config.model.get('type', '')).startswith('mmmuse.'):
        raise InputError(f'{name} is already distilled: its model is {config.model.type}')
    return config


def propose_for_config(
    config: Config, num_modules: int, input_shape: tuple[int, ...] | None = None
) -> TapProposal:
    """Build a config's model and propose its taps; see :func:`mmmuse.tapping.proposal.propose_taps`.

    Args:
        config: A complete config.
        num_modules: T.
        input_shape: ``(C, H, W)`` of the image to run; by default that of the config's own images.

    Raises:
        InputError: If the model has no head, or cannot be cut.
    """
    init_default_scope(config.get('default_scope') or 'mmpretrain')
    model = dict(config.model)
    if config.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', config.data_preprocessor)
    network = MODELS.build(model)
    if getattr(network, 'head', network) is None:
        raise InputError(f'{type(network).__name__} has no head, and so no loss: give model.head')
    size = config_size(config)
    shapes = [input_shape]
    if input_shape is None and size is not None:
        shapes = [(channels, *size) for channels in image_channels(network)]
    for shape in shapes[:-1]:
        with suppress(InputError):  # A stem may rearrange the image before its first convolution.
            return propose_taps(network, num_modules, shape)
    return propose_taps(network, num_modules, shapes[-1])


def distilled_config(
    name: str, config: Config, proposal: TapProposal, variant: str, out: Path
) -> str:
    """Return the text of a config that inherits from ``name`` and distils it.

    Args:
        name: Path of the plain config, or ``mmpretrain::...``.
        config: That config, loaded.
        proposal: The cut.
        variant: A name of :data:`mmmuse.heads.variants.VARIANTS`.
        out: Path of the new file; a path in ``name`` is made relative to its folder.

    Raises:
        InputError: If the variant needs logits and no module outputs them.
    """
    head, neck = variant_parts(variant)
    has_exits = head.get('ce_weight', 1) or head.get('kd_weight', 1)
    segments = config.get('default_scope') == 'mmseg'
    if has_exits and proposal.logits is None:
        raise InputError(
            f'exits need class logits, and there are none: {proposal.no_logits}; '
            'use a variant without exits: mi_x_si_alone, mi_plus_si_alone, mi, si'
        )
    kind, exit_lines, metric = 'mmmuse.SelfDistiller', [], None
    if segments and has_exits:
        kind, metric = 'mmmuse.SegmentationSelfDistiller', 'mmmuse.ExitSegmentationMetric'
        exit_lines = ["    exit=dict(decode_head=dict(type='FCNHead')),"]
        exit_lines += ['    kd_weight=0,'] * (head.get('kd_weight', 1) == 0)
        head, neck = {**head, 'ce_weight': 0, 'kd_weight': 0}, None
        if 'discrepancy' not in head:
            head = None
    base = name if '::' in name else os.path.relpath(name, out.parent or '.')
    lines = [
        *([] if proposal.logits else [f'# Without exits: {proposal.no_logits}.']),
        f'_base_ = [{base!r}]',
        '',
        'model = dict(',
        '    _delete_=True,',
        f'    type={kind!r},',
        '    student=_base_.model,',
        '    taps=dict(',
        f'        modules={list(proposal.modules)!r},',
        f'        last={proposal.last!r},',
        *([f'        logits={proposal.logits!r},'] if has_exits else []),
        '    ),',
        f'    input_shape={list(proposal.input_shape)!r},',
        *exit_lines,
        *([f'    neck={_code(neck)},'] if neck else []),
        *_head_lines(head),
        ')',
        '',
        'default_hooks = dict(',
        "    student_checkpoint=dict(type='mmmuse.StudentCheckpointHook'),",
        "    information=dict(type='mmmuse.InformationLoggerHook'),",
        ')',
    ]
    if has_exits:
        if metric is None and is_multi_label(config):
            metric = 'mmmuse.ExitMetric'
        lines += _evaluator_lines(config, metric)
    return '\n'.join(lines) + '\n'


def _evaluator_lines(config: Config, metric: str | None) -> list[str]:
    """Return the lines that add the metric of the exits to the config's own metrics.

    Args:
        config: The plain config.
        metric: Type of the metric that evaluates every exit as the config's own metrics do; None for accuracy.
    """
    lines = []
    for key in ('val_evaluator', 'test_evaluator'):
        evaluators, kept = config.get(key) or [], f'*_base_.{key}'
        if isinstance(evaluators, dict):
            evaluators, kept = [evaluators], f'_base_.{key}'
        types = [evaluator.get('type') for evaluator in evaluators]
        has_labels = not any(evaluator.get('format_only') for evaluator in evaluators)
        if not types or 'mmmuse.ExitAccuracy' in types or not has_labels:
            continue
        of_exits = "dict(type='mmmuse.ExitAccuracy')"
        if metric is not None:
            of_exits = f'dict(type={metric!r}, metric=_base_.{key})'
        if lines and key == 'test_evaluator' and config[key] == config.val_evaluator:
            lines.append('test_evaluator = val_evaluator')
        else:
            lines.append(f'{key} = [{kept}, {of_exits}]')
    return lines


def _head_lines(head: dict | None) -> list[str]:
    if head is None:
        return []
    return [
        '    head=dict(',
        *(f'        {name}={_code(value)},' for name, value in head.items()),
        '    ),',
    ]


def is_multi_label(config: Config) -> bool:
    """Return whether the head of a config's model is one of mmpretrain's multi-label heads."""
    head = config.model.get('head') or {}
    scope = head.get('_scope_') or config.get('default_scope') or 'mmpretrain'
    kind = look_up(MODELS, str(head.get('type')), scope)
    return isinstance(kind, type) and is_multi_label_type(kind)


def _code(value: object) -> str:
    """Write a nested dict as ``dict(...)`` calls."""
    if isinstance(value, dict):
        return f'dict({", ".join(f"{name}={_code(item)}" for name, item in value.items())})'
    return repr(value)
