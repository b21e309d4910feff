"""The settings of a run in a few lines, from its config."""

from collections.abc import Iterable
from typing import Any

from mmengine.config import Config

from mmmuse.checkpoints.network_names import is_teacher_entry

NOT_SET = 'not set (default)'
_Rows = list[tuple[str, str]]
# In the order in which they are shown.
_NETWORK_KEYS = ('depth', 'arch', 'widen_factor', 'deepen_factor', 'base_channels', 'num_classes')
_LOSS_KEYS = (
    *('combine', 'estimator', 'critic', 'loss_weight', 'critic_weight', 'warmup', 'temperature'),
    *('epochs', 'iters'),
)
_OPTIMIZER_KEYS = ('lr', 'momentum', 'betas', 'weight_decay')
_SCHEDULER_KEYS = ('T_max', 'milestones', 'gamma', 'begin', 'end')
_DATA_KEYS = ('split', 'data_root', 'ann_file', 'data_prefix')


def settings_of(config: Config) -> dict[str, _Rows]:
    """Return the settings that matter, by group; those that the config lacks are left out.

    Args:
        config: Of a run, as dumped.

    Returns:
        Name and value of each setting, by ``'Network'``, ``'Losses'``, ``'Schedule'``, ``'Data'``.
    """
    model = _dict(config.get('model'))
    groups = {
        'Network': _network(model),
        'Losses': _losses(model),
        'Schedule': _schedule(config),
        'Data': _data(config),
    }
    return {name: rows for name, rows in groups.items() if rows}


def _network(model: dict) -> _Rows:
    rows = [('Method', _type(model))]
    if peers := _dict(model.get('peers')):
        for name, peer in peers.items():
            rows += [(f'Peer {name}', _student(_dict(_dict(peer).get('model'))))]
            rows += _taps(_dict(peer).get('taps'), f' of peer {name}')
        return rows
    if 'student' not in model:
        return [('Method', 'none: a network without distillation'), ('Network', _student(model))]
    rows += [('Student', _student(_dict(model['student'])))]
    teachers = model.get('teacher')
    if isinstance(teachers, (list, tuple)):
        for number, item in enumerate(teachers, 1):
            entry = item if is_teacher_entry(item) else dict(teacher=item)
            name = entry.get('name', f'teacher{number}')
            rows += [(f'Teacher {name}', _teacher(entry['teacher']))]
            if entry.get('checkpoint') is not None:
                rows += [(f'Checkpoint of {name}', _text(entry['checkpoint']))]
    elif 'teacher' in model:
        rows += [('Teacher', _teacher(teachers))]
    if model.get('teacher_checkpoint') is not None:
        rows += [('Teacher checkpoint', _text(model['teacher_checkpoint']))]
    rows += _taps(model.get('taps'), '')
    if 'thresholds' in model:
        rows += [('Thresholds for early exit', _text(model['thresholds']))]
    return rows


def _taps(taps: Any, of: str) -> _Rows:
    """Return the tapped modules, numbered as their exits are."""
    if not isinstance(taps, dict):
        return [] if taps is None else [(f'Taps{of}', _text(taps))]
    modules = taps.get('modules')
    modules = list(modules) if isinstance(modules, (list, tuple)) else []
    rows = [(f'Tap {i}{of}', _text(path)) for i, path in enumerate(modules, 1)]
    if 'last' in taps:
        rows += [(f'Last feature{of}', _text(taps['last']))]
    if 'logits' in taps:
        rows += [(f'Logits{of}', _text(taps['logits']))]
    return rows


def _student(model: dict) -> str:
    """Return a network in a line: ``ImageClassifier: ResNet_CIFAR (depth 18), LinearClsHead``."""
    parts = [model.get(name) for name in ('backbone', 'neck', 'head', 'bbox_head', 'roi_head')]
    described = [_described(part, _NETWORK_KEYS) for part in parts if isinstance(part, dict)]
    return ': '.join(filter(None, [_type(model), ', '.join(described)]))


def _teacher(teacher: Any) -> str:
    """Return a teacher in a line: its parts, or its name."""
    if isinstance(teacher, dict) and 'name' in teacher:
        return _text(teacher['name'])
    return _student(_dict(teacher)) or _text(teacher)


def _losses(model: dict) -> _Rows:
    rows = []
    head = model.get('head')
    if isinstance(head, dict):
        rows += [('Head', _described(head, ('ce_weight', 'kd_weight', 'temperature')))]
        for loss in _listed(head.get('discrepancy')):
            rows += _loss('Loss between features', loss)
    elif head is not None:
        rows += [('Head', _text(head))]
    if isinstance(model.get('exit'), dict):
        rows += [('Exit', _type(model['exit']))]
    for loss in _listed(model.get('losses')):
        rows += _loss('Loss between networks', loss)
    for number, phase in enumerate(_listed(model.get('phases')), 1):
        phase = _dict(phase)
        lasts = [f'{phase[unit]} {unit}' for unit in ('epochs', 'iters') if phase.get(unit)]
        text = ', '.join(lasts or ['to the end'])
        own = '' if phase.get('task_loss', True) else ", without the student's own loss"
        rows += [(f'Phase {number}', text + own)]
        for loss in _listed(phase.get('losses')):
            rows += _loss(f'Loss of phase {number}', loss)
    balance = model.get('loss_balance', 'fixed')
    if balance != 'fixed':
        rows += [('Balance of the losses', _text(balance))]
    if model.get('ensemble') is not None:
        rows += [('Ensemble of the teachers', _text(model['ensemble']))]
    teachers = model.get('teacher')
    for number, item in enumerate(teachers if isinstance(teachers, (list, tuple)) else (), 1):
        for loss in _listed(_dict(item).get('losses')):
            rows += _loss(f'Loss of {item.get("name", f"teacher{number}")}', loss)
    return rows


def _loss(title: str, loss: Any) -> _Rows:
    if not isinstance(loss, dict):
        return [(title, _text(loss))]
    rows = [(title, _described(loss, _LOSS_KEYS))]
    if 'loss_weight' not in loss:
        rows += [(f'Weight of {_type(loss)}', NOT_SET)]
    return rows


def _schedule(config: Config) -> _Rows:
    loop, wrapper = _dict(config.get('train_cfg')), _dict(config.get('optim_wrapper'))
    rows = [
        (name, _text(loop[key]))
        for name, key in (('Epochs', 'max_epochs'), ('Steps', 'max_iters'))
        if key in loop
    ]
    if optimizer := _dict(wrapper.get('optimizer')):
        rows += [('Optimizer', _described(optimizer, _OPTIMIZER_KEYS))]
    if 'type' in wrapper:
        rows += [('Optimizer wrapper', _type(wrapper))]
    if keys := _dict(wrapper.get('paramwise_cfg')).get('custom_keys'):
        rows += [('Parameters with settings of their own', _text(keys))]
    for scheduler in _listed(config.get('param_scheduler')):
        rows += [('Learning rate', _described(_dict(scheduler), _SCHEDULER_KEYS))]
    if 'seed' in (randomness := _dict(config.get('randomness'))):
        rows += [('Seed', _text(randomness['seed']))]
    return rows


def _data(config: Config) -> _Rows:
    rows = []
    for split in ('train', 'val', 'test'):
        loader = _dict(config.get(f'{split}_dataloader'))
        if loader:
            rows += [(f'Data, {split}', _dataset(loader.get('dataset')))]
        if split == 'train' and 'batch_size' in loader:
            rows += [('Batch size', f'{_text(loader["batch_size"])} images')]
    return rows


def _dataset(dataset: Any) -> str:
    """Return a data set in a line, in the wrappers that hold it."""
    dataset = _dict(dataset)
    described = _described(dataset, _DATA_KEYS)
    held = [dataset['dataset']] if 'dataset' in dataset else _listed(dataset.get('datasets'))
    return ' of '.join([described, *map(_dataset, held[:3])])


def _described(part: dict, keys: Iterable[str]) -> str:
    """Return type and some arguments: ``SGD (lr 0.05, momentum 0.9)``."""
    given = [f'{key} {_text(part[key])}' for key in keys if part.get(key) is not None]
    return _type(part) + (f' ({", ".join(given)})' if given else '')


def _type(part: dict) -> str:
    return _text(part.get('type', '')).removeprefix('mmmuse.')


def _text(value: Any) -> str:
    """Return a value as it would be read aloud: dicts and lists without quotes and brackets."""
    if isinstance(value, dict):
        return ' '.join(f'{_text(key)}={_text(content)}' for key, content in value.items())
    if isinstance(value, (list, tuple)):
        return ', '.join(map(_text, value))
    return str(value)


def _dict(value: Any) -> dict:
    return value if isinstance(value, dict) else {}


def _listed(value: Any) -> list:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
