"""Read what runs logged of MUSE: MI and SI losses, the gradients' ratio, the network's own loss."""

import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

from mmmuse.checkpoints.regular_file import check_regular_file
from mmmuse.distillers.own_total import OWN_TOTAL
from mmmuse.errors import InputError
from mmmuse.hooks.information_logger import GRADIENT_RATIO, PREFIX, UNINFORMED

Curves = dict[str, dict[int, float]]
# mi_loss_1, of a peer a.mi_loss_1, of a second MUSELoss mi_loss_1_2; mi_1 in logs of earlier versions.
_TERM = re.compile(
    r'^(?:(?P<peer>\w+)\.)?(?P<kind>mi|si)(?:_loss)?_(?P<module>\d{1,4}(?:_\d{1,4})?)$'
)
_RATIO = re.compile(rf'^(?:(?P<peer>\w+)\.)?{GRADIENT_RATIO}$')
# A peer's is a.loss. In a run without distillation it is "loss", in any other the sum of all terms.
_OWN_LOSS = re.compile(rf'^(?:(?P<peer>\w+)\.(?:loss|{OWN_TOTAL})|{OWN_TOTAL}|loss_student|loss)$')
# Marks a distilled detector's log of a version that did not log own_total.
_ADDED_LOSS = re.compile(
    r'^exit\d+\.|\bloss_(muse|l2|mmd|vid|adversarial|at|fitnet|kd|kdcl|dkd|crd)\b'
)
_EXIT = re.compile(r'exit\d+')
_LARGEST = sys.float_info.max  # A whole number above it cannot be drawn.
_LARGEST_STEP = 10**12


def read_information(work_dir: Path) -> Curves:
    """Return the information terms that a run logged.

    Args:
        work_dir: The run's work dir. Runs lie in it side by side; from the
            first step that a later one logged on, only the later one counts: a resumed run
            goes on, one from scratch starts over.

    Returns:
        For each scalar (``mi_loss_1``, ``a.si_loss_2``, ``gradient_ratio``,
        ``uninformed_loss``) its value by training step.

    Raises:
        InputError: If the folder holds no log, or the log no such term.
    """
    curves = read_curves(work_dir, _information_of)
    if not any(map(_TERM.match, curves)):
        raise InputError(
            f'the run in {work_dir} logged no MI or SI: it has no MUSELoss, or its '
            'config lacks mmmuse.InformationLoggerHook'
        )
    return curves


def read_training(work_dir: Path) -> Curves:
    """Return the information terms of a run, if it has any, and the loss of the network itself.

    Args:
        work_dir: As for :func:`read_information`.

    Returns:
        What :func:`read_information` returns, and the network's own loss as ``loss``, each
        peer's as ``a.loss``: without what a distiller adds to it. Distilled
        detectors of versions that did not log ``own_total`` have none.

    Raises:
        InputError: If the folder holds no log, or the log no training step.
    """
    curves = read_curves(work_dir, lambda record: _information_of(record) | _own_loss_of(record))
    if not curves:
        raise InputError(f'the run in {work_dir} logged no training step')
    return curves


def peers_of(curves: Curves) -> list[str | None]:
    """Return the names of the networks of a run; None is the one of a run that names none."""
    matches = (_TERM.match(name) or _OWN_LOSS.match(name) for name in curves)
    return sorted({match['peer'] for match in matches if match}, key=str)


def curves_of(curves: Curves, peer: str | None, kind: str) -> Curves:
    """Return the curves of one network and one kind.

    Args:
        curves: Of a run.
        peer: The network's name, as :func:`peers_of` returns it.
        kind: ``'mi'``, ``'si'``, ``'ratio'`` or ``'loss'``.

    Returns:
        For ``'mi'`` and ``'si'`` a curve by module (``'1'``, of a second MUSELoss ``'1_2'``)
        in their order; for the others one curve by ``kind``, or none.
    """
    if kind in ('ratio', 'loss'):
        name = ('' if peer is None else f'{peer}.') + {'ratio': GRADIENT_RATIO}.get(kind, kind)
        return {kind: curves[name]} if name in curves else {}
    found = {
        match['module']: points
        for name, points in curves.items()
        if (match := _TERM.match(name)) and (match['kind'], match['peer']) == (kind, peer)
    }
    return {module: found[module] for module in sorted(found, key=module_order)}


def module_order(module: str) -> list[int]:
    """Return a key that sorts ``'2'`` before ``'10'``, and ``'1_2'`` after ``'1'``."""
    return [int(number) for number in module.split('_')]


def read_curves(
    work_dir: Path, scalars_of: Callable[[dict[str, float]], dict[str, float]]
) -> Curves:
    """Return some scalars of a run and its resumptions by step.

    Args:
        work_dir: As for :func:`read_information`.
        scalars_of: Picks the scalars of a line by name.

    Raises:
        InputError: If the folder holds no log, or a line has no step or a scalar that is not a number.
    """
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    if not logs:
        raise InputError(f'{work_dir} holds no log of a run (*/vis_data/scalars.json)')
    curves: Curves = {}
    for log in logs:
        points = [
            (name, _step_of(record, log), _number(value, name, log))
            for record in _records(log)
            for name, value in scalars_of(record).items()
        ]
        first = min((step for _, step, _ in points), default=math.inf)
        for curve in curves.values():
            for step in [step for step in curve if step >= first]:
                del curve[step]
        for name, step, value in points:
            curves.setdefault(name, {})[step] = value
    return {name: points for name, points in sorted(curves.items()) if points}


def _records(log: Path) -> list[dict[str, float]]:
    """Return the lines of a log."""
    check_regular_file(log, 'log')
    records = []
    lines = log.read_text(encoding='utf-8', errors='replace').splitlines()
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == len(lines):  # A run that was killed ends in half a line.
                break
            raise InputError(f'{log} is damaged at line {number}') from error
        if not isinstance(record, dict):
            raise InputError(f'{log} is damaged at line {number}: it has no scalars by name')
        records.append(record)
    return records


def _step_of(record: dict, log: Path) -> int:
    step = record.get('step')
    if type(step) is not int or not 0 <= step <= _LARGEST_STEP:
        raise InputError(f'{log} is damaged: a line has the step {str(step)[:40]!r}')
    return step


def _number(value: object, name: str, log: Path) -> float:
    # A float may be infinite, where a run diverged.
    if type(value) is float or (type(value) is int and abs(value) <= _LARGEST):
        return value
    raise InputError(f'{log} is damaged: {name[:80]!r} is {repr(value)[:40]}, not a number')


def _information_of(record: dict[str, float]) -> dict[str, float]:
    """Return the information scalars of a line by their names of today."""
    names = {key: key.removeprefix(PREFIX) for key in record if key.startswith(PREFIX)}
    return {
        re.sub(r'\b(mi|si)_(?=\d)', r'\1_loss_', name): record[key]
        for key, name in names.items()
        if _TERM.match(name) or _RATIO.match(name) or name == UNINFORMED
    }


def _own_loss_of(record: dict[str, float]) -> dict[str, float]:
    """Return the networks' own losses of a training line of MMEngine's logger."""
    if 'iter' not in record:  # A line of an evaluation.
        return {}
    for name in (OWN_TOTAL, 'loss_student'):
        if name in record:
            return {'loss': record[name]}
    peers = {
        f'{match["peer"]}.loss': value
        for name, value in record.items()
        if (match := _OWN_LOSS.match(name)) and match['peer'] and not _EXIT.fullmatch(match['peer'])
    }
    if peers:
        return peers
    distilled = any(map(_ADDED_LOSS.search, record))  # Then "loss" is the sum of all terms.
    return {'loss': record['loss']} if 'loss' in record and not distilled else {}
