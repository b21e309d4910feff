"""Check the content of a checkpoint that has been read."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmmuse.errors import InputError

from .state_dicts import AVERAGES_KEY, DISTILLER_AVERAGES_KEY, DISTILLER_KEY, kind_of

INFORMATION = 'information'  # Key of a checkpoint: (sum, number of steps) by the name of a loss.
GRADIENTS = 'gradients'  # Key of a checkpoint: tensors by the name of a weight.
_HUB = {'log_scalars', 'runtime_info', 'resumed_keys'}


def without_programs(content: Any) -> Any:
    """Remove the text of a config from a checkpoint, in place, and return the checkpoint.

    MMEngine runs this text: ``Runner.resume`` that of ``meta['config']``, its inferencers that of
    ``message_hub['runtime_info']['cfg']``, older tools that of ``meta['cfg']``. A run has its own
    config and saves it again. A ``meta`` of None, as some libraries write it, becomes an empty dict.
    """
    if not isinstance(content, dict):
        return content
    if 'meta' in content and content['meta'] is None:
        content['meta'] = {}
    hub = content.get('message_hub')
    places = [content.get('meta'), hub.get('runtime_info') if isinstance(hub, dict) else None]
    for place in places:
        if isinstance(place, dict):
            for key in ('config', 'cfg'):
                place.pop(key, None)
    return content


def check_weights(content: Any, path: str) -> None:
    """Check that a checkpoint has weights with data.

    Args:
        content: Of the file: ``dict(state_dict=...)``, or the state dict itself.
        path: Of the file, for the message.

    Raises:
        InputError: If it has none, or its parts are not named tensors.
    """
    if not isinstance(content, dict):
        raise InputError(f'{path} is not a checkpoint: it contains a {type(content).__name__}')
    weights = content.get('state_dict', content)
    if other := _no_tensor(weights):
        raise InputError(
            f'{path} is not a checkpoint: it has no state_dict of tensors, {other}; save the weights '
            'only, with torch.save(dict(state_dict=...))'
        )
    if not weights:
        raise InputError(
            f'{path} has no weights, its state_dict is empty: it is of another network'
        )
    parts = {'state_dict': weights}
    if weights is not content:
        keys = (DISTILLER_KEY, AVERAGES_KEY, DISTILLER_AVERAGES_KEY)
        parts |= {key: content.get(key) for key in keys}
    for key, part in parts.items():
        if part is None:
            continue
        if other := _no_tensor(part):
            raise InputError(
                f'{path} is not a checkpoint: its {key} does not hold tensors by name, {other}'
            )
        for name, value in part.items():
            _check_data(value, f'{path}: the tensor {name} of its {key}')
            # Hooks exchange averaged weights and others.
            same = weights.get(name.removeprefix('module.').removeprefix('student.'), value)
            if kind_of(same) != kind_of(value):
                raise InputError(
                    f'{path}: {name} of its {key} is {kind_of(value)}, and {kind_of(same)} in its '
                    'state_dict'
                )
    meta = None if weights is content else content.get('meta')
    if not isinstance(meta, dict | None):
        kind = type(meta).__name__
        raise InputError(f'{path} is not a checkpoint: its meta is a {kind}, not a dict')
    of_data = (meta or {}).get('dataset_meta')
    if of_data is not None and not _has_class_names(of_data):
        raise InputError(
            f'{path} is not a checkpoint: its meta.dataset_meta is {str(of_data)[:80]!r}, without '
            'a list of class names'
        )


def check_tensors(content: Any, path: str) -> None:
    """Check that a file has tensors, and that these have data.

    Unlike :func:`check_weights` it takes files of other libraries: ``{'model': ...}``, or with other
    values beside the weights.

    Args:
        content: Of the file.
        path: Of the file, for the message.

    Raises:
        InputError: If it has no tensor, or one is without data or sparse.
    """
    found = False
    for name, value in _tensors(content):
        found = True
        _check_data(value, f'{path}: the tensor {name}')
    if not found:
        raise InputError(f'{path} has no weights: it contains no tensor')


def _tensors(content: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors in dicts and lists, with their names."""
    waiting, seen = [('', content)], set()
    while waiting:  # No recursion, as the nesting is the file's.
        name, value = waiting.pop()
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))  # A file can hold a list that contains itself.
            items = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += [(f'{name}.{key}'.removeprefix('.'), each) for key, each in items]


def _check_data(value: Tensor, what: str) -> None:
    if value.is_meta or value.layout != torch.strided:
        kind = "without data (device 'meta')" if value.is_meta else str(value.layout)
        raise InputError(f'{what} is {kind}')


def _no_tensor(part: Any) -> str:
    """Return what in a dict of named tensors is something else; empty if nothing is."""
    if not isinstance(part, dict):
        return f'it is a {type(part).__name__}'
    for name, value in part.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            return f'its entry {str(name)[:80]!r} is a {type(value).__name__}'
    return ''


def _has_class_names(of_data: Any) -> bool:
    if not isinstance(of_data, dict):
        return False
    names = of_data.get('classes')
    if isinstance(names, np.ndarray):
        names = names.tolist()
    if names is None or isinstance(names, str):
        return True
    return isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)


def check_resumable(content: dict, path: str) -> None:
    """Check that a run can be resumed from a checkpoint.

    Args:
        content: Of the file, as MMEngine's runner saves it.
        path: Of the file, for the message.

    Raises:
        InputError: If a part is missing or is not what a runner saves.
    """
    remedy = 'use another checkpoint, or start from its weights with load_from instead of --resume'
    parts = {'meta': dict, 'message_hub': dict, 'optimizer': dict}
    missing = [key for key in ('state_dict', *parts) if key not in content]
    if missing:
        raise InputError(f'{path} cannot be resumed from: it has no {", ".join(missing)}; {remedy}')
    if content.get('param_schedulers') is not None:
        parts['param_schedulers'] = (list, dict)
    for key, kind in parts.items():
        if not isinstance(content[key], kind):
            found = type(content[key]).__name__
            raise InputError(f'{path} cannot be resumed from: its {key} is a {found}; {remedy}')
    for key in ('epoch', 'iter'):
        number = content['meta'].get(key)
        if type(number) is not int or not 0 <= number < 2**53:
            raise InputError(
                f'{path} cannot be resumed from: its {key} is {number!r}, not a whole number '
                f'from 0; {remedy}'
            )
    hub = content['message_hub']
    wrong = [key for key in sorted(_HUB) if not isinstance(hub.get(key), dict)]
    if wrong:
        raise InputError(
            f'{path} cannot be resumed from: its message_hub has no {", ".join(wrong)}; {remedy}'
        )
    seed = content['meta'].get('seed')
    if seed is not None and (type(seed) is not int or not 0 <= seed < 2**32):
        raise InputError(f'{path} cannot be resumed from: its seed is {seed!r}; {remedy}')
    optional = {
        INFORMATION: ('a dict of (sum, number of steps) by name', _is_sum),
        GRADIENTS: ('a dict of real tensors by name', _is_gradient),
    }
    for key, (what, is_one) in optional.items():
        part = content.get(key, {})
        if (
            not isinstance(part, dict)
            or not all(isinstance(name, str) for name in part)
            or not all(map(is_one, part.values()))
        ):
            raise InputError(f'{path} cannot be resumed from: its {key!r} is not {what}; {remedy}')
    for name, optimizer in _optimizers(content['optimizer']).items():
        groups = optimizer.get('param_groups') if isinstance(optimizer, dict) else None
        if (
            not isinstance(groups, list)
            or not all(isinstance(g, dict) and isinstance(g.get('params'), list) for g in groups)
            or not isinstance(optimizer.get('state'), dict)
            or not all(isinstance(state, dict) for state in optimizer['state'].values())
        ):
            raise InputError(
                f'{path} cannot be resumed from: its {name} has no state and param_groups; {remedy}'
            )


def check_not_after_end(content: dict, key: str, end: int, path: str) -> None:
    """Check that a checkpoint to resume from is not from after the end of the training.

    Args:
        content: Of the file, after :func:`check_resumable`.
        key: ``'epoch'`` or ``'iter'``, what the training counts.
        end: The last one of the training.
        path: Of the file, for the message.

    Raises:
        InputError: If it is.
    """
    done = content['meta'][key]
    if done > end:
        raise InputError(
            f'{path} is of {key} {done}, and the run ends at {end}: raise '
            f'train_cfg.max_{key}s, or resume from an earlier checkpoint'
        )


def is_float_with_count(value: Any) -> bool:
    """Return whether a value of a file is a pair of a float and a whole number."""
    return isinstance(value, (tuple, list)) and [type(each) for each in value] == [float, int]


def _is_sum(value: Any) -> bool:
    return is_float_with_count(value) and value[1] > 0


def _is_gradient(value: Any) -> bool:
    return torch.is_tensor(value) and value.is_floating_point()


def _optimizers(saved: dict) -> dict[str, Any]:
    """Return the state dicts of one optimizer, or of several by their names."""
    if 'param_groups' in saved or not saved:
        return {'optimizer': saved}
    return {f'optimizer {name!r}': state for name, state in saved.items()}
