"""The record of a finished run: the metrics of every epoch."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mmmuse.analysis.evaluations import network_evaluations, peers_of, percent_factor
from mmmuse.analysis.information import read_curves, read_training
from mmmuse.analysis.information_table import information_table
from mmmuse.analysis.run_log import read_run_log
from mmmuse.checkpoints.regular_file import check_regular_file
from mmmuse.checkpoints.synced_write import write_synced
from mmmuse.errors import InputError
from mmmuse.jobs.code_version import COMMIT
from mmmuse.jobs.training import log_path

from .plan import Row, Run

_FILE = 'record.json'
_TRAINING_ACCURACY = 'accuracy_top-1'  # As mmpretrain's heads log it with cal_acc=True.
_DAMAGED = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Record:
    """A finished run.

    Attributes:
        epochs: The metrics of each epoch from 1, by column: ``'top1'`` for the
            full network, ``'exit1'``, ... for its exits, whatever the metric is; in percent, if it is known
            how. Of several networks (peers) ``'top1'`` is the mean, and each peer has a column of its name.
        command: Of the run.
        commit: Of the code, with ``-dirty`` if the tree had changes; several if it changed
            between a start and a resumption.
        hardware: Description of the machine.
        at_end: What training had last logged: ``'training accuracy'`` in percent (of a student whose head
            has ``cal_acc=True``), and of MUSE ``'MI loss 1'``, ..., ``'SI loss 1'``, ... in
            nats and ``'gradient ratio'``. Of several networks there is nothing.
        metric: Of the full network.
    """

    epochs: dict[int, dict[str, float]]
    command: str
    commit: str
    hardware: str
    at_end: dict[str, float] = field(default_factory=dict)
    metric: str = Row.metric

    def last(self) -> dict[str, float]:
        """Return the metrics of the last epoch."""
        return self.epochs[max(self.epochs)]

    def best(self) -> dict[str, float]:
        """Return the metrics of the epoch in which the full network was best."""
        return max(self.epochs.values(), key=lambda metrics: metrics['top1'])


def read_record(run: Run) -> Record | None:
    """Return the record of a run; None if it is not finished, or is of another metric than the row's.

    In the latter case the log of the run has the metric: trained again, it ends at once.

    Raises:
        InputError: If the file is damaged.
    """
    path = run.work_dir / _FILE
    if not path.is_file():
        return None
    try:
        record = _record(json.loads(path.read_text(encoding='utf-8')))
    except _DAMAGED as error:
        raise InputError(f'{path} is damaged; delete {run.work_dir} and run again') from error
    return record if record.metric == run.row.metric else None


def finished_at(run: Run) -> float | None:
    """Return when the last checkpoint of a run that has a record was written; None without one of the two."""
    paths = (run.work_dir / _FILE, run.checkpoint)
    return run.checkpoint.stat().st_mtime if all(path.is_file() for path in paths) else None


def read_records(path: Path) -> dict[str, Record]:
    """Read the records that :func:`mmmuse.tables.write_report` has written beside a table.

    Returns:
        Each record by the folder of its run, relative to the table's.

    Raises:
        InputError: If it is missing or no such file.
    """
    check_regular_file(path, 'file of records')
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        if not isinstance(content, list):
            raise ValueError('no list')
        return {str(record['folder']): _record(record) for record in content}
    except _DAMAGED as error:
        raise InputError(f'{path} holds no records of a table') from error


def _record(content: dict) -> Record:
    epochs = {
        int(epoch): {name: float(value) for name, value in metrics.items()}
        for epoch, metrics in content['epochs'].items()
    }
    at_end = {name: float(value) for name, value in content.get('at_end', {}).items()}
    texts = {name: str(content[name]) for name in ('command', 'commit', 'hardware')}
    texts['metric'] = str(content.get('metric', Row.metric))
    if not epochs or any('top1' not in metrics for metrics in epochs.values()):
        raise ValueError('no metric')
    return Record(epochs=epochs, at_end=at_end, **texts)


def log_of(run: Run) -> Path:
    """Return the path of a run's log."""
    return log_path(run.work_dir)


def write_record(run: Run, command: str, hardware: str) -> Record:
    """Write the record of a run from its log, into its work dir.

    Raises:
        InputError: If its last epoch was not evaluated.
    """
    epochs = logged_epochs(run.work_dir, run.row.metric)
    if run.epochs not in epochs:
        raise InputError(
            f'{run.work_dir} has no {run.row.metric} of epoch {run.epochs}: its config does not '
            'evaluate the last epoch, or EarlyStoppingHook ended the run'
        )
    lines = log_of(run).read_text(encoding='utf-8', errors='replace').splitlines()
    commits = [line.removeprefix(COMMIT) for line in lines if line.startswith(COMMIT)]
    commit = ', '.join(dict.fromkeys(commits))
    record = Record(
        epochs, command, commit, hardware, _last_training_values(run.work_dir), run.row.metric
    )
    save_record(run, record)
    return record


def save_record(run: Run, record: Record) -> None:
    """Write a record into the work dir of its run, which is then finished."""
    content = json.dumps(asdict(record), indent=1) + '\n'
    write_synced(run.work_dir / _FILE, content.encode())


def _last_training_values(work_dir: Path) -> dict[str, float]:
    """Return what the training of one network had last logged."""
    try:
        rows = information_table({'': read_training(work_dir)})
        accuracies = read_curves(work_dir, _training_accuracy)
    except InputError:  # Of a log without a training step, or a damaged one.
        return {}
    if len(rows) > 1:
        return {}
    logged = {name: curve[max(curve)] for name, curve in accuracies.items()}
    logged |= {k: v for k, v in rows[0].items() if k not in ('run', 'step', 'own loss')}
    return {name: value for name, value in logged.items() if value is not None}


def _training_accuracy(record: dict[str, float]) -> dict[str, float]:
    accuracy = record.get(_TRAINING_ACCURACY)
    return {} if accuracy is None or 'iter' not in record else {'training accuracy': accuracy}


def logged_hardware(work_dir: Path) -> str:
    """Return the machine that a run's last start has logged; ``'unknown'`` if it has not."""
    for log in sorted(work_dir.glob('*/*.log'), reverse=True):
        if (hardware := read_run_log(log).hardware) is not None:
            return hardware
    return 'unknown'


def logged_epochs(work_dir: Path, metric: str) -> dict[int, dict[str, float]]:
    """Return the metrics that a run and its resumptions logged, by epoch, in percent where that is known.

    Args:
        work_dir: With the logs ``*/vis_data/scalars.json``.
        metric: Of the full network; those of exits are ``exit1/top1`` (of ``accuracy/top1``) or
            ``exit1/mIoU`` (of ``mIoU``). If it is the mean of several networks, ``average/X``, theirs
            are ``<peer>/X``.
    """
    logged: dict[str, dict[int, float]] = {}
    for step, line in _evaluated(work_dir, metric).items():
        for name, value in line.items():
            logged.setdefault(name, {})[step] = value
    network = network_evaluations(logged, metric)
    columns = {f'exit{number}': points for number, points in network.shallow_exits.items()}
    columns |= peers_of(logged, metric) | {'top1': network.full}
    factor = percent_factor(metric) or 1
    return {
        step: {name: factor * points[step] for name, points in columns.items() if step in points}
        for step in network.full
    }


def _evaluated(work_dir: Path, metric: str) -> dict[int, dict[str, float]]:
    """Return the last line of each step that has a metric; values that are not numbers are left out."""
    lines = {}
    for log in sorted(work_dir.glob('*/vis_data/scalars.json')):
        check_regular_file(log, 'log')
        for line in log.read_text(errors='replace', encoding='utf-8').splitlines():
            try:
                logged = json.loads(line)
            except (
                ValueError,
                RecursionError,
            ):  # Of a run that was killed, the last is incomplete.
                continue
            if isinstance(logged, dict) and metric in logged:
                lines[logged['step']] = {
                    name: value for name, value in logged.items() if type(value) in (int, float)
                }
    return lines
