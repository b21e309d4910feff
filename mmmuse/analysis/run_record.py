"""What the work dir of a run says: its config, its logs, and the names of its checkpoints."""

import math
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from mmmuse.checkpoints.regular_file import why_no_file
from mmmuse.errors import InputError

from .dumped_config import read_dumped_config
from .evaluations import Evaluations, read_evaluations
from .information import Curves, read_curves, read_training
from .run_log import RunLog, read_run_log


class Start(NamedTuple):
    """One start of a run: the first, or one that resumed it.

    Attributes:
        name: Of its folder, the time at which it started.
        log: Its text log, empty where there is none.
    """

    name: str
    log: RunLog


class Progress(NamedTuple):
    """How far a run got.

    Attributes:
        unit: ``'epoch'`` or ``'step'``.
        done: The last one that was logged.
        total: Of the schedule; None if the config does not say.
        is_finished: Whether the last one was evaluated, or saved.
    """

    unit: str
    done: int
    total: int | None
    is_finished: bool


class RunRecord(NamedTuple):
    """What the files of a run say.

    Attributes:
        work_dir: Of the run.
        config: As dumped by the last start that trained; empty if there is none.
        config_file: The file of the config.
        evaluations: See :func:`mmmuse.analysis.evaluations.read_evaluations`.
        curves: See :func:`mmmuse.analysis.information.read_training`; empty without training.
        starts: Those that trained, by time.
        checkpoints: Names of the checkpoints.
        progress: How far it got.
    """

    work_dir: Path
    config: Config
    config_file: Path | None
    evaluations: Evaluations
    curves: Curves
    starts: tuple[Start, ...]
    checkpoints: tuple[str, ...]
    progress: Progress

    @property
    def errors(self) -> tuple[str, ...]:
        """Lines of errors in the log of the last start."""
        return self.starts[-1].log.errors


def read_run(work_dir: Path) -> RunRecord:
    """Read the work dir of a run of MMEngine. Checkpoints are not opened.

    Args:
        work_dir: With a folder for each start, which has ``vis_data`` and a log in it.

    Raises:
        InputError: If it is missing, is not the work dir of a run, or has a damaged file.
    """
    if not work_dir.is_dir():
        raise InputError(f'no work dir {work_dir}')
    folders = sorted(path.parent for path in work_dir.glob('*/vis_data') if path.is_dir())
    if not folders:
        raise InputError(
            f'{work_dir} is not the work dir of a run: it has no folder */vis_data of a start'
        )
    # The others tested, or stopped before their first line.
    trained = [folder for folder in folders if (folder / 'vis_data' / 'scalars.json').exists()]
    starts = tuple(_start(folder) for folder in (trained or folders[-1:]))
    config, file = _config(work_dir, (trained or folders)[-1])
    evaluations, curves, done = Evaluations(None, {}), {}, {}
    if trained:
        evaluations = read_evaluations(work_dir)
        curves = read_curves(work_dir, _progress_of) and read_training(work_dir)
        done = read_curves(work_dir, _progress_of)
    checkpoints = tuple(sorted(path.name for path in work_dir.glob('*.pth')))
    progress = _progress(config, evaluations, done, checkpoints)
    return RunRecord(work_dir, config, file, evaluations, curves, starts, checkpoints, progress)


def _start(folder: Path) -> Start:
    log = folder / f'{folder.name}.log'
    found = log.exists() or log.is_symlink()
    return Start(folder.name, read_run_log(log) if found else RunLog())


def _config(work_dir: Path, start: Path) -> tuple[Config, Path | None]:
    """Return the config of a start; where it was not dumped there, the one in the work dir."""
    own = start / 'vis_data' / 'config.py'
    if why_no_file(own) is None:
        return read_dumped_config(own), own
    others = sorted(path for path in work_dir.glob('*.py') if path.name != 'student.py')
    return (read_dumped_config(others[0]), others[0]) if others else (Config({}), None)


def _progress_of(record: dict) -> dict[str, float]:
    """Return epoch and iteration of a line of training."""
    if type(record.get('iter')) is not int:
        return {}
    return {name: record[name] for name in ('epoch', 'iter') if type(record.get(name)) is int}


def _progress(
    config: Config, evaluations: Evaluations, logged: Curves, checkpoints: tuple[str, ...]
) -> Progress:
    loop = _mapping(config.get('train_cfg'))
    by_step = loop.get('by_epoch') is False or 'Iter' in str(loop.get('type', ''))
    unit, key = ('step', 'iter') if by_step else ('epoch', 'epoch')
    total = loop.get('max_iters' if by_step else 'max_epochs')
    total = total if type(total) is int else None
    steps = sorted({0, *logged.get(key, {}).values()})
    evaluated = evaluations.last or 0
    done = max(steps[-1], evaluated)
    # The last steps are not logged if they are fewer than the interval of the log.
    gap = max((after - before for before, after in pairwise(steps)), default=0) if by_step else 0
    is_finished = total is not None and (
        evaluated >= total
        # The checkpoint of a run that was in the folder before is further ahead than the log.
        or ((done + gap >= total or not logged.get(key)) and f'{key}_{total}.pth' in checkpoints)
    )
    return Progress(unit, int(done) if math.isfinite(done) else 0, total, is_finished)


def _mapping(value: object) -> dict:
    return value if isinstance(value, dict) else {}
