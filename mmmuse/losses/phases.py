"""Parts of the training in which a loss counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmmuse.errors import InputError
from mmmuse.tapping.progress import training_epoch, training_iteration

UNITS = ('epochs', 'iters')


@dataclass(frozen=True)
class Span:
    """A part of the training.

    Attributes:
        unit: ``'epochs'`` or ``'iters'``, of which it is made.
        begin: The first of them, from 0.
        end: The first one after it; None for the end of the training.
    """

    unit: str
    begin: int
    end: int | None = None

    def __contains__(self, place: int) -> bool:
        return self.begin <= place and (self.end is None or place < self.end)

    def is_now(self, reader: str) -> bool:
        """Return whether the training is in it.

        Args:
            reader: Name of the caller, for the message.

        Raises:
            InputError: Where MMEngine's runner does not count this unit.
        """
        count = training_epoch if self.unit == 'epochs' else training_iteration
        return count(reader)[0] in self


def span_of(config: dict) -> tuple[dict, Span | None]:
    """Return a loss's config without ``epochs`` and ``iters``, and the span that they name.

    Each is a pair: the first epoch (or iteration) in which the loss counts, from 0, and the first one
    in which it does not, None for the end of the training.

    Raises:
        InputError: If it is no such pair, or both are given.
    """
    given = [unit for unit in UNITS if config.get(unit) is not None]
    rest = {key: value for key, value in config.items() if key not in UNITS}
    if not given:
        return rest, None
    if len(given) > 1:
        raise InputError(f'{config.get("type")} has epochs or iters, not both')
    pair = config[given[0]]
    if not _is_span(pair):
        raise InputError(
            f'{config.get("type")}.{given[0]} must be (begin, end), from 0, end not included, such as (0, 60) '
            f'or (60, None), got {pair!r}'
        )
    return rest, Span(given[0], *pair)


def losses_of_phases(phases: Sequence[Mapping]) -> tuple[list[dict], list[Span]]:
    """Return the losses of phases that follow one another, each with its span.

    Args:
        phases: Each is ``dict(epochs=60, losses=[...])``: how long it lasts, in ``epochs`` or in
            ``iters``, and the configs of its losses. The last one may leave its length out and then
            lasts to the end. ``task_loss=False`` leaves the student's own losses out of a phase.

    Returns:
        The configs of all losses, for :func:`mmmuse.losses.build_edge`; the spans of the phases
        without the student's own losses.

    Raises:
        InputError: If a phase is something else, has neither losses nor the student's own, or a phase
            other than the last has no length.
    """
    units = {unit for phase in phases for unit in UNITS if unit in phase}
    if len(units) > 1:
        raise InputError('phases are counted in epochs or in iters, not in both')
    unit = units.pop() if units else 'epochs'
    losses, without_task, begin = [], [], 0
    for i, phase in enumerate(phases, 1):
        length = _checked(phase, f'phase {i}').get(unit)
        if length is None and i < len(phases):
            raise InputError(
                f'phase {i} needs its length, such as {unit}=60: only the last has none'
            )
        span = Span(unit, begin, None if length is None else begin + length)
        losses += [{**loss, unit: (span.begin, span.end)} for loss in phase.get('losses', ())]
        if not phase.get('task_loss', True):
            without_task.append(span)
        begin = span.end
    return losses, without_task


def _checked(phase: Mapping, name: str) -> Mapping:
    known = (*UNITS, 'losses', 'task_loss')
    if not isinstance(phase, Mapping) or set(phase) - set(known):
        raise InputError(f'{name} is dict(epochs=..., losses=[...], task_loss=True), got {phase!r}')
    for unit in UNITS:
        length = phase.get(unit)
        if length is not None and not (_is_int(length) and length > 0):
            raise InputError(f'{name}: {unit} must be an integer of at least 1, got {length!r}')
    if not isinstance(phase.get('task_loss', True), bool):
        raise InputError(f'{name}: task_loss is True or False, got {phase["task_loss"]!r}')
    for loss in phase.get('losses', ()):
        if not isinstance(loss, Mapping):
            raise InputError(f"{name}: a loss is a config, dict(type='...'), got {loss!r}")
        if any(unit in loss for unit in UNITS):
            raise InputError(
                f'{name}: its losses last as long as it does; leave out epochs and iters'
            )
    if not phase.get('losses') and not phase.get('task_loss', True):
        raise InputError(f'{name} has no losses, and task_loss=False: nothing would be learnt')
    return phase


def _is_span(pair: object) -> bool:
    if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not _is_int(pair[0]):
        return False
    begin, end = pair
    return begin >= 0 and (end is None or (_is_int(end) and end > begin))


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
