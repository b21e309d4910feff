"""Logs of runs, as MMEngine and InformationLoggerHook write them."""

import json
from pathlib import Path


def write_records(work_dir: Path, name: str, records: list[dict], end: str = '') -> Path:
    """Write the scalars of one start of a run; ``end`` follows the last line."""
    folder = work_dir / name / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text('\n'.join([*map(json.dumps, records), end]))
    return work_dir


def information(step: int, **scalars: float) -> dict:
    """A line of InformationLoggerHook; ``a__mi_loss_1`` stands for ``a.mi_loss_1``."""
    named = {f'information/{k.replace("__", ".")}': v for k, v in scalars.items()}
    return {**named, 'step': step}


def training(step: int, **losses: float) -> dict:
    """A line of MMEngine's LoggerHook; ``a__loss`` stands for ``a.loss``."""
    named = {k.replace('__', '.'): v for k, v in losses.items()}
    return {'lr': 0.1, **named, 'epoch': 1, 'iter': step, 'step': step}


def evaluation(epoch: int, **metrics: float) -> dict:
    """A line of an evaluation: its step is the epoch."""
    return {**metrics, 'time': 0.1, 'step': epoch}
