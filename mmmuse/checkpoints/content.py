"""Check the content of a checkpoint that has been read."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmmuse.errors import InputError

from .state_dicts import DISTILLER_KEY, kind_of

_HUB = {'log_scalars', 'runtime_info', 'resumed_keys'}


def without_programs(content: Any) -> Any:
    """Remove the text of a config from a checkpoint, in place, and return the checkpoint.

    MMEngine runs this text: ``Runner.resume`` that of ``meta['config']``, its inferencers that of
    ``message_hub['runtime_info']['cfg']``, older tools that of ``meta['cfg']``. A run has its own
    config and saves it again.
    """
    if not isinstance(content, dict):
        return content
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
    if not isinstance(weights, dict) or not _are_tensors(weights):
        raise InputError(f'{path} is not a checkpoint: it has no state_dict of tensors')
    if not weights:
        raise InputError(
            f'{path} has no weights, its state_dict is empty: it is of another network'
        )
    parts = {'state_dict': weights}
    if weights is not content:
        parts |= {key: content.get(key) for key in (DISTILLER_KEY, 'ema_state_dict')}
    for key, part in parts.items():
        if part is None:
            continue
        if not isinstance(part, dict) or not _are_tensors(part):
            raise InputError(f'{path} is not a checkpoint: its {key} is no dict of tensors')
        for name, value in part.items():
            if value.is_meta or value.layout != torch.strided:
                kind = "without data (device 'meta')" if value.is_meta else str(value.layout)
                raise InputError(f'{path}: the tensor {name} of its {key} is {kind}')
            # Hooks exchange averaged weights and others.
            same = weights.get(name.removeprefix('module.').removeprefix('student.'), value)
            if kind_of(same) != kind_of(value):
                raise InputError(
                    f'{path}: {name} of its {key} is {kind_of(value)}, and {kind_of(same)} in its '
                    'state_dict'
                )
    meta = {} if weights is content else content.get('meta', {})
    if not isinstance(meta, dict):
        kind = type(meta).__name__
        raise InputError(f'{path} is not a checkpoint: its meta is a {kind}, not a dict')
    of_data = meta.get('dataset_meta') or {}
    names = of_data.get('classes') or () if isinstance(of_data, dict) else None
    if not isinstance(names, (str, list, tuple)) or not all(isinstance(n, str) for n in names):
        raise InputError(
            f'{path} is not a checkpoint: its meta.dataset_meta is {str(of_data)[:80]!r}, without '
            'a list of class names'
        )


def _are_tensors(part: Mapping) -> bool:
    return all(isinstance(name, str) and isinstance(value, Tensor) for name, value in part.items())


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


def _optimizers(saved: dict) -> dict[str, Any]:
    """Return the state dicts of one optimizer, or of several by their names."""
    if 'param_groups' in saved or not saved:
        return {'optimizer': saved}
    return {f'optimizer {name!r}': state for name, state in saved.items()}
