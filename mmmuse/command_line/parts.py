"""Check the types and ranges in a config before anything is built."""

import inspect
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin, get_type_hints

from mmengine.config import Config
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import CheckpointHook, Hook
from mmengine.optim import BaseOptimWrapper, DefaultOptimWrapperConstructor
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIMIZERS, Registry
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmmuse import registry
from mmmuse.arguments import accepts, check_arguments, check_keys, described, shown
from mmmuse.errors import ArgumentError, InputError

from .library_arguments import BY_PATH, BY_TYPE, CLOSED, DEFAULT_TYPES, REQUIRED
from .near_types import nearest_type
from .near_words import did_you_mean

# Scopes whose parts the table of libraries describes; those of any other scope are a user's.
_LIBRARIES = {'', 'mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'mmseg', 'torch'}
_EVALUATOR = dict | Sequence[dict | BaseMetric] | Evaluator | None
# What MMEngine's runner accepts beside its annotations.
_TOP_LEVEL = {
    'cfg': Any,
    'default_hooks': dict[str, Hook | dict | None] | None,
    'log_level': str | int,
    'param_scheduler': dict | Sequence[dict | _ParamScheduler] | _ParamScheduler | None,
    'val_evaluator': _EVALUATOR,
    'test_evaluator': _EVALUATOR,
}
_SPLITS = ('train', 'val', 'test')
_OWN_REGISTRIES = [value for value in vars(registry).values() if isinstance(value, Registry)]
# Of an optimizer wrapper: what MMEngine's constructor reads or builds.
_OF_THE_CONSTRUCTOR = {'optimizer', 'constructor', 'paramwise_cfg'}
_LOADER_KEYS = set(inspect.signature(DataLoader).parameters) | {'num_batch_per_epoch'}
# Parts that a run may build late or never. For each: the types for which it is checked (none for any),
# and its known keys.
_PARTS: dict[str, tuple[tuple[str, ...], set[str]]] = {
    'test_cfg': (('TestLoop',), {'type', 'fp16'}),
    'val_dataloader': ((), _LOADER_KEYS),
    'test_dataloader': ((), _LOADER_KEYS),
    # This hook passes unknown arguments on to its first save.
    'default_hooks.checkpoint': (
        ('CheckpointHook', 'SafeCheckpointHook'),
        {'type', 'priority'}
        | set(inspect.signature(CheckpointHook).parameters)
        | set(inspect.signature(Runner.save_checkpoint).parameters),
    ),
}


def check_config(config: Config) -> None:
    """Check keys, types and ranges in a config before anything is built.

    Raises:
        InputError: Naming the key.
    """
    check_top_level(config)
    _refuse_unknown_keys(config)
    check_parts(config)


def check_top_level(config: Config) -> None:
    """Check the types under the runner's own keys, by the annotations of MMEngine's runner.

    A runner of one's own is not checked, nor are the data loaders for a loop of one's own.

    Raises:
        InputError: If a value is of another type.
    """
    if 'runner_type' in config:
        return
    hints = {**get_type_hints(Runner.__init__), **_TOP_LEVEL}
    loops = [config.get(f'{split}_cfg') for split in _SPLITS]
    types = [loop.get('type', 'ValLoop') for loop in loops if isinstance(loop, dict)]
    if not all(_name(kind) in BY_TYPE for kind in types):
        hints |= {f'{split}_dataloader': Any for split in _SPLITS}
    for key, value in config.items():
        if not accepts(hints.get(key, Any), value):
            path, hint, found = _refused_item(key, hints[key], value)
            accepted = described(hint)
            raise InputError(
                f'{path} is {accepted}, got {shown(found)}{_hint_on_type(path, found, accepted)}'
            )


def _refused_item(key: str, hint: Any, value: Any) -> tuple[str, Any, Any]:
    """Return path, annotation and value of the item that a dict is refused for; of the dict itself if it is no item."""
    for kind in (hint, *get_args(hint)):
        if get_origin(kind) is dict and isinstance(value, dict):
            of_item = get_args(kind)[1]
            for name, item in value.items():
                if not accepts(of_item, item):
                    return f'{key}.{name}', of_item, item
    return key, hint, value


def check_parts(config: Config) -> None:
    """Check the arguments of every part that a config describes.

    Those of our parts, and of a user's parts that are registered here, by the annotations of their
    ``__init__``; those of the libraries' parts by a table. Nothing is built.

    Raises:
        InputError: Naming the path in the config, what is accepted there and what was given.
    """
    closed = set(CLOSED)
    if 'constructor' in (config.get('optim_wrapper') or {}):  # Another one reads other keys.
        closed.discard('optim_wrapper.paramwise_cfg')
    for path, part in _parts(config._cfg_dict):
        try:
            _check(path, part, closed)
        except ArgumentError as error:
            path = f'{path}.{error.key}'
            hint = _hint_on_type(path, error.value, error.fault)
            raise InputError(f'{path} is {error.fault}{hint}') from error


def _hint_on_type(path: str, value: Any, accepted: str) -> str:
    """Return how to name the type of a part, if its name was given for the part."""
    name = value.rpartition('.')[2] if isinstance(value, str) else ''
    is_name = name.isidentifier() and name[0].isupper()
    return f'; write {path}.type={value}' if is_name and 'a dict' in accepted else ''


def _refuse_unknown_keys(config: Config) -> None:
    for path, (kinds, read) in _PARTS.items():
        part = config
        for name in path.split('.'):
            part = part.get(name) or {}
        if not isinstance(part, dict) or (kinds and _name(part.get('type', kinds[0])) not in kinds):
            continue
        # MMEngine adds the scope to the parts of a base from another library.
        for key in sorted(set(part) - read - {'_scope_'}):
            raise InputError(unknown_key(f'{path}.{key}', read))


def check_multipliers(config: Config) -> None:
    """Check, before a training, that no multiplier of the learning rate is ignored.

    Raises:
        InputError: If there is one beside MMEngine's ``OneCycleLR``.
    """
    schedulers = config.get('param_scheduler') or []
    schedulers = schedulers if isinstance(schedulers, (list, tuple)) else [schedulers]
    if not any(
        isinstance(scheduler, Mapping)
        and _name(scheduler.get('type')) == 'OneCycleLR'
        and isinstance(scheduler.get('eta_max'), (int, float))  # A list has a rate for each group.
        for scheduler in schedulers
    ):
        return
    paramwise = (config.get('optim_wrapper') or {}).get('paramwise_cfg') or {}
    for path, part in _parts(paramwise, 'optim_wrapper.paramwise_cfg'):
        for key, value in part.items():
            if str(key).endswith('lr_mult') and value != 1:
                raise InputError(
                    f'{path}.{key}={value} has no effect: OneCycleLR gives all parameters the same '
                    "learning rate; use type='mmmuse.PerGroupOneCycleLR', or remove the multiplier"
                )


def check_optimizer(config: Config) -> None:
    """Check, before a training, that the optimizer is known.

    MMEngine's constructor fails at an unknown one without its name. Other constructors may read other keys. They and
    runners of one's own are not checked.

    Raises:
        InputError: If it is not; the message has the nearest known name.
    """
    wrapper = config.get('optim_wrapper')
    wrapper = wrapper if isinstance(wrapper, dict) else {}
    optimizer = wrapper.get('optimizer')
    name = optimizer.get('type') if isinstance(optimizer, dict) else None
    if not isinstance(name, str) or name in OPTIMIZERS.module_dict or 'runner_type' in config:
        return
    scope = config.get('default_scope')
    constructor = wrapper.get('constructor', DefaultOptimWrapperConstructor)
    if isinstance(constructor, str):
        constructor = _looked_up(OPTIM_WRAPPER_CONSTRUCTORS, constructor, scope)
    default = DefaultOptimWrapperConstructor
    if not isinstance(constructor, type) or not issubclass(constructor, default):
        return
    if constructor.__call__ is not default.__call__:  # It may build an optimizer of its own.
        return
    if _looked_up(OPTIMIZERS, name, scope) is None:
        with OPTIMIZERS.switch_scope_and_registry(scope) as optimizers:
            nearest = nearest_type(optimizers, name)
        raise InputError(f'optim_wrapper.optimizer.type: unknown optimizer {name!r}{nearest}')


def _looked_up(parent: Registry, name: str, scope: str | None) -> Any:
    try:
        return registry.look_up(parent, name, scope)
    except RuntimeError:  # MMEngine's "Failed to get".
        return None


def unknown_key(key: str, read: set[str]) -> str:
    """Return what to say about a config key that nothing reads, with the nearest known one."""
    hint = did_you_mean(key.rpartition('.')[2], read)
    return f'unknown config key {key!r}{hint}'


def path_in(config: Mapping, error: ArgumentError) -> str | None:
    """Return where a config has the argument that a part has refused; None if that is not known."""
    found = [
        f'{path}.{error.key}'
        for path, part in _parts(config)
        if error.key in part
        and type(part[error.key]) is type(error.value)
        and part[error.key] == error.value
        and _name(part.get('type', error.part)) == error.part
    ]
    return found[0] if len(found) == 1 else None


def path_of(config: Mapping, kinds: Container[str], key: str | None = None) -> str | None:
    """Return where a config has its only part of some types; None if there is none, or more than one.

    Args:
        config: The config.
        kinds: Names of the types, with or without their scope.
        key: That the part has. With it, a part may also have no type of its own.
    """
    found = [
        path
        for path, part in _parts(config)
        if (kind := part.get('type')) in kinds
        or _name(kind) in kinds
        or (kind is None and key is not None)
        if key is None or key in part
    ]
    return found[0] if len(found) == 1 else None


def _parts(value: Any, path: str = '') -> Iterator[tuple[str, Mapping]]:
    """Yield each dict in a config, with its path, from the outside in."""
    if isinstance(value, Mapping):
        if path:
            yield path, value
        for key, item in value.items():
            yield from _parts(item, f'{path}.{key}' if path else str(key))
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _parts(item, f'{path}[{i}]')


def _check(path: str, part: Mapping, closed: set[str]) -> None:
    kind = part.get('type', DEFAULT_TYPES.get(path))
    given = {key: value for key, value in part.items() if key not in ('type', '_scope_')}
    if isinstance(kind, (int, float, Mapping, list, tuple)) or kind == '':
        raise InputError(f'{path}.type is the name of a class, got {shown(kind)}')
    at_path = _at(path)
    if at_path is not None:
        annotations = BY_PATH[at_path]
        check_keys(path, part, annotations)
        if 'type' in part and 'type' not in annotations:
            raise InputError(unknown_key(f'{path}.type', set(annotations)))
        _check_names(path, part, REQUIRED.get(at_path, set()), at_path in closed and annotations)
    elif (own := _own_class(kind)) is not None:
        if issubclass(own, BaseOptimWrapper):
            given = {key: value for key, value in given.items() if key not in _OF_THE_CONSTRUCTOR}
        check_arguments(path, own.__init__, given)
    if _scope(kind) in _LIBRARIES | {'mmmuse'}:
        check_keys(path, given, BY_TYPE.get(_name(kind), {}))


def _check_names(path: str, part: Mapping, required: set[str], known: Any) -> None:
    for key in sorted(required - set(part)):
        raise InputError(f'{path} needs the key {key!r}')
    unknown = sorted(set(part) - set(known)) if known else []
    for key in (key for key in unknown if not key.startswith('_')):
        raise InputError(f'unknown config key {path + "." + key!r}; known: {", ".join(known)}')


def _at(path: str) -> str | None:
    if path in BY_PATH:
        return path
    starred = f'{path.rpartition(".")[0]}.*'
    return starred if starred in BY_PATH else None


def _own_class(kind: Any) -> Callable | None:
    """Return the class of one of our parts, or of one that is registered with them."""
    if isinstance(kind, type):
        return kind if hasattr(kind.__init__, 'checks_arguments') else None
    if not isinstance(kind, str) or _scope(kind) != 'mmmuse':
        return None
    for own in _OWN_REGISTRIES:
        found = own.find(_name(kind))
        if found is not None:
            return found if isinstance(found, type) else None
    return None


def _scope(kind: Any) -> str | None:
    if isinstance(kind, type):
        return kind.__module__.partition('.')[0]
    return kind.rpartition('.')[0].partition('.')[0] if isinstance(kind, str) else None


def _name(kind: Any) -> str:
    return getattr(kind, '__name__', str(kind).rpartition('.')[2])
