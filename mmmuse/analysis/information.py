"""Read and draw the information terms of training runs (figures 2 and 3 of the paper)."""

import json
import math
import re
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
from matplotlib import pyplot as plt

from mmmuse.errors import InputError
from mmmuse.hooks.information_logger import GRADIENT_RATIO, PREFIX, UNINFORMED

Curves = dict[str, dict[int, float]]
# mi_loss_1, of a peer a.mi_loss_1, of a second MUSELoss mi_loss_1_2; mi_1 in logs of earlier versions.
_TERM = re.compile(r'^(?:(?P<peer>\w+)\.)?(?P<kind>mi|si)(?:_loss)?_(?P<module>\d+(?:_\d+)?)$')
_RATIO = re.compile(rf'^(?:(?P<peer>\w+)\.)?{GRADIENT_RATIO}$')
_ROWS = (
    ('mi', 'MI loss with the last feature (nats)'),
    ('si', 'SI loss (nats)'),
    ('ratio', "MUSE's gradient / the task's"),
)


def read_information(work_dir: Path) -> Curves:
    """Return the information terms that a run logged.

    Args:
        work_dir: The run's work dir. Runs lie in it side by side; from the
            first step that a later one logged on, it alone counts: a resumed run
            goes on, one from scratch starts over.

    Returns:
        For each scalar (``mi_loss_1``, ``a.si_loss_2``, ``gradient_ratio``,
        ``uninformed_loss``) its value by training step.

    Raises:
        InputError: If the folder holds no log, or the log no such term.
    """
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    if not logs:
        raise InputError(f'{work_dir} holds no log of a run (*/vis_data/scalars.json)')
    curves: Curves = {}
    for log in logs:
        points = _read_points(log)
        first = min((step for _, step, _ in points), default=math.inf)
        for curve in curves.values():
            for step in [step for step in curve if step >= first]:
                del curve[step]
        for name, step, value in points:
            curves.setdefault(name, {})[step] = value
    if not any(map(_TERM.match, curves)):
        raise InputError(
            f'the run in {work_dir} logged no MI or SI: it has no MUSELoss, or its '
            'config lacks mmmuse.InformationLoggerHook'
        )
    return dict(sorted(curves.items()))


def _read_points(log: Path) -> list[tuple[str, int, float]]:
    """Return name, step and value of each information scalar in a log."""
    points = []
    lines = log.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):  # A run that was killed ends in half a line.
                break
            raise InputError(f'{log} is damaged at line {number}') from error
        for key, value in record.items():
            name = key.removeprefix(PREFIX)
            if name != key and (_TERM.match(name) or _RATIO.match(name) or name == UNINFORMED):
                points.append(
                    (re.sub(r'\b(mi|si)_(?=\d)', r'\1_loss_', name), record['step'], value)
                )
    return points


def draw_information(runs: dict[str, Curves], out: Path) -> None:
    """Draw MI (upper row, figure 2), SI (figure 3) and the gradients' ratio of runs side by side.

    Each network of an online run has a column of its own. The ratio's row is there where a run
    logged it. A dotted line is the loss of a critic that knows nothing (2 log 2), where the
    run's estimators have one such number.

    Args:
        runs: Curves by the title of their column.
        out: The PNG to write.
    """
    columns = [(title, peer, curves) for title, curves in runs.items() for peer in _peers(curves)]
    rows = [row for row in _ROWS if any(_of_row(*column[1:], row[0]) for column in columns)]
    figure, axes = plt.subplots(
        len(rows),
        len(columns),
        figsize=(2 + 4.2 * len(columns), 3.2 * len(rows)),
        squeeze=False,
        sharey='row',
        layout='constrained',
    )
    for j, (title, peer, curves) in enumerate(columns):
        for (kind, label), axis in zip(rows, axes[:, j]):
            _draw(axis, _of_row(peer, curves, kind))
            axis.set_xlabel('training steps')
            axis.set_ylabel(label)
            if kind != 'ratio' and UNINFORMED in curves:
                _draw_uninformed(axis, list(curves[UNINFORMED].values())[-1])
            if kind == 'ratio':
                axis.set_yscale('log')
        axes[0, j].set_title(title if peer is None else f'{title}: {peer}')
    handles = {
        label: handle
        for axis in axes.flat
        for handle, label in zip(*axis.get_legend_handles_labels())
    }
    figure.legend(handles.values(), handles.keys(), loc='outside right center')
    figure.savefig(out, dpi=150)
    plt.close(figure)


def _peers(curves: Curves) -> list[str | None]:
    """Return the names of the networks that logged terms; None is one without a name."""
    return sorted({match['peer'] for match in map(_TERM.match, curves) if match}, key=str)


def _of_row(peer: str | None, curves: Curves, kind: str) -> Curves:
    """Return a network's curves of one kind by their label."""
    found = {}
    for name, points in curves.items():
        term, ratio = _TERM.match(name), _RATIO.match(name)
        if kind == 'ratio' and ratio and ratio['peer'] == peer:
            found['gradient ratio'] = points
        elif term and (term['kind'], term['peer']) == (kind, peer):
            found[f'module {term["module"]}'] = points
    return found


def _draw(axis: plt.Axes, curves: Curves) -> None:
    for label, points in curves.items():
        steps = sorted(points)
        axis.plot(
            steps,
            [points[step] for step in steps],
            label=label,
            color='black' if label == 'gradient ratio' else None,
            marker='.' if len(steps) < 30 else None,
        )
    axis.grid(alpha=0.3)


def _draw_uninformed(axis: plt.Axes, value: float) -> None:
    label = (
        'untrained critic: 2 log 2' if math.isclose(value, 2 * math.log(2)) else 'untrained critic'
    )
    axis.axhline(value, color='grey', linestyle=':', linewidth=1, label=label)
