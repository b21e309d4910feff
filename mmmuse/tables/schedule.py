from typing import Any

from mmengine.config import Config

from mmmuse.errors import InputError

# The arguments of MMEngine's schedulers that are counted in epochs.
_IN_EPOCHS = ('milestones', 'begin', 'end', 'T_max', 'step_size')


def scaled_schedule(config: Config, epochs: int) -> dict[str, Any]:
    """Return the overrides that train a config for another number of epochs on the same schedule.

    Args:
        config: With an epoch-based loop.
        epochs: The new number, at least 1.

    Returns:
        ``train_cfg.max_epochs`` and the arguments of schedulers in epochs, scaled and at least 1; a scheduler
        begins before the last epoch.

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
        if not scheduler.get('by_epoch', True):
            continue
        prefix = 'param_scheduler' if single else f'param_scheduler.{i}'
        for name in _IN_EPOCHS:
            value = scheduler.get(name)
            if isinstance(value, list):
                overrides[f'{prefix}.{name}'] = [_scaled(v, epochs, total) for v in value]
            elif value:
                scaled = _scaled(value, epochs, total)
                overrides[f'{prefix}.{name}'] = (
                    min(scaled, epochs - 1) if name == 'begin' else scaled
                )
    return overrides


def _scaled(value: int, epochs: int, total: int) -> int:
    return max(round(value * epochs / total), 1)
