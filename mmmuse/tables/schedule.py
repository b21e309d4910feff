from typing import Any

from mmengine.config import Config

from mmmuse.errors import InputError

# The arguments of MMEngine's schedulers that are counted in epochs, or in iterations with by_epoch=False.
_COUNTED = ('milestones', 'begin', 'end', 'T_max', 'step_size', 'total_steps', 'periods')


def scaled_schedule(config: Config, epochs: int) -> dict[str, Any]:
    """Return the overrides that train a config for another number of epochs on the same schedule.

    Args:
        config: With an epoch-based loop.
        epochs: The new number, at least 1.

    Returns:
        ``train_cfg.max_epochs`` and the arguments of schedulers in epochs or iterations, scaled and at least 1; a
        scheduler begins before the last epoch, and ends after it begins.

    Raises:
        InputError: If the config has no epoch-based loop.

    Example:
        >>> config = Config(dict(
        ...     train_cfg=dict(by_epoch=True, max_epochs=200),
        ...     param_scheduler=dict(type='MultiStepLR', by_epoch=True, milestones=[75, 130, 180]),
        ... ))
        >>> scaled_schedule(config, 20)
        {'train_cfg.max_epochs': 20, 'param_scheduler.milestones': [8, 13, 18]}
    """
    total = (config.get('train_cfg') or {}).get('max_epochs')
    if not total:
        raise InputError('its training is not counted in epochs: train_cfg has no max_epochs')
    overrides: dict[str, Any] = {'train_cfg.max_epochs': epochs}
    schedulers = config.get('param_scheduler') or []
    single = isinstance(schedulers, dict)
    for i, scheduler in enumerate([schedulers] if single else schedulers):
        prefix = 'param_scheduler' if single else f'param_scheduler.{i}'
        scaled = _scaled_arguments(scheduler, epochs, total)
        overrides.update({f'{prefix}.{name}': value for name, value in scaled.items()})
    return overrides


def _scaled_arguments(scheduler: dict, epochs: int, total: int) -> dict[str, Any]:
    scaled: dict[str, Any] = {}
    for name in _COUNTED:
        value = scheduler.get(name)
        if isinstance(value, (list, tuple)):
            scaled[name] = [_scaled(number, epochs, total) for number in value]
        elif value:
            scaled[name] = _scaled(value, epochs, total)
    if 'begin' in scaled and scheduler.get('by_epoch', True):
        scaled['begin'] = min(scaled['begin'], epochs - 1)
    if 'end' in scaled:
        scaled['end'] = max(scaled['end'], scaled.get('begin', 0) + 1)
    return scaled


def _scaled(value: int, epochs: int, total: int) -> int:
    return max(round(value * epochs / total), 1)
