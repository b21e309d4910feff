from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from mmengine.config import Config

from mmmuse.errors import InputError


def scaled_schedule(config: Config, epochs: int) -> dict[str, Any]:
    """Return the overrides that train a config for another number of epochs on the same schedule.

    Args:
        config: With an epoch-based loop.
        epochs: The new number, at least 1.

    Returns:
        ``train_cfg.max_epochs`` and the arguments of schedulers in epochs or iterations. A cosine or a cycle
        ends where it did, in proportion; a scheduler of epochs begins in the last one at the latest. A warm-up
        of which a single epoch is left counts in iterations, as it would be at its first value otherwise.

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
    """Return the arguments of a scheduler that are counted in epochs, or in iterations with ``by_epoch=False``."""
    by_epoch = scheduler.get('by_epoch', True)
    converted = scheduler.get('convert_to_iter_based', False)
    old = scheduler.get('begin', 0)
    begin = _scaled(old, epochs, total) if old else 0
    if by_epoch:
        begin = min(begin, epochs - 1)
    # In steps: the first one has the first value, and the last one the last.
    shortest = 1 if by_epoch else 2

    def end_of(count: int) -> int:
        return max(_scaled(count, epochs, total), begin + shortest)

    scaled: dict[str, Any] = {'begin': begin} if old else {}
    if scheduler.get('end'):
        scaled['end'] = end_of(scheduler['end'])
        if by_epoch and not converted and scaled['end'] - begin == 1 < scheduler['end'] - old:
            scaled['convert_to_iter_based'] = True
    for name in ('T_max', 'total_steps'):  # From the beginning of the scheduler.
        if scheduler.get(name):
            scaled[name] = end_of(old + scheduler[name]) - begin
    if scheduler.get('milestones'):
        scaled['milestones'] = [_scaled(step, epochs, total) for step in scheduler['milestones']]
    if scheduler.get('step_size'):
        scaled['step_size'] = _scaled(scheduler['step_size'], epochs, total)
    if scheduler.get('periods'):
        scaled['periods'] = _scaled_periods(scheduler['periods'], epochs, total)
    return scaled


def _scaled_periods(periods: Sequence[int], epochs: int, total: int) -> list[int]:
    """Return periods whose ends are scaled, so that their sum is, too."""
    ends = [0]
    for end in accumulate(periods):
        ends.append(max(_scaled(end, epochs, total), ends[-1] + 1))
    return [end - begin for begin, end in pairwise(ends)]


def _scaled(value: int, epochs: int, total: int) -> int:
    return max(round(value * epochs / total), 1)
