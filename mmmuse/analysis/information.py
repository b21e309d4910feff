"""Read and draw the information terms of training runs (figures 2 and 3 of the paper)."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
from matplotlib import pyplot as plt

from mmmuse.errors import InputError
from mmmuse.hooks.information_logger import INFORMATION_SCALAR

Curves = dict[str, dict[int, float]]


def read_information(work_dir: Path) -> Curves:
    """Return the information terms that a run logged.

    Args:
        work_dir: The run's work dir. Runs lie in it side by side; from the
            first step that a later one logged on, it alone counts: a resumed run
            goes on, one from scratch starts over.

    Returns:
        For each term (``mi_1``, ``si_1``, ...) its value in nats by training step.

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
    if not curves:
        raise InputError(
            f'the run in {work_dir} logged no MI or SI: it has no MUSELoss, or its '
            'config lacks mmmuse.InformationLoggerHook'
        )
    return dict(sorted(curves.items()))


def _read_points(log: Path) -> list[tuple[str, int, float]]:
    """Return name, step and value of each information term in a log."""
    points = []
    lines = log.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):  # A run that was killed ends in half a line.
                break
            raise InputError(f'{log} is damaged at line {number}') from error
        points += [
            (name.removeprefix('information/'), record['step'], value)
            for name, value in record.items()
            if INFORMATION_SCALAR.match(name)
        ]
    return points


def draw_information(runs: dict[str, Curves], out: Path) -> None:
    """Draw MI (upper row, figure 2) and SI (lower row, figure 3) of runs side by side.

    Args:
        runs: Curves by the title of their column.
        out: The PNG to write.
    """
    figure, axes = plt.subplots(
        2,
        len(runs),
        figsize=(1 + 4.2 * len(runs), 6.4),
        squeeze=False,
        sharey='row',
        layout='constrained',
    )
    for column, (title, curves) in enumerate(runs.items()):
        for row, (kind, label) in enumerate(
            (('mi', 'MI loss with the last feature'), ('si', 'SI loss'))
        ):
            axis = axes[row, column]
            _draw(axis, {name: points for name, points in curves.items() if name.startswith(kind)})
            axis.set_xlabel('training steps')
            if column == 0:
                axis.set_ylabel(f'{label} (nats)')
        axes[0, column].set_title(title)
    figure.savefig(out, dpi=150)
    plt.close(figure)


def _draw(axis: plt.Axes, curves: Curves) -> None:
    for name, points in curves.items():
        steps: Sequence[int] = sorted(points)
        axis.plot(
            steps,
            [points[step] for step in steps],
            label=f'F{name.split("_")[1]}',
            marker='.' if len(steps) < 30 else None,
        )
    axis.axhline(2 * 0.6931471805599453, color='grey', linestyle=':', linewidth=1)
    axis.grid(alpha=0.3)
    if curves:
        axis.legend(title='module')
