"""The record of a finished run: the metrics of every epoch."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from mmmuse.analysis.run_log import read_run_log
from mmmuse.checkpoints.regular_file import check_regular_file
from mmmuse.errors import InputError
from mmmuse.jobs.code_version import COMMIT
from mmmuse.jobs.training import log_path

from .plan import Run

_EXIT = re.compile(r'^exit(\d+)/top1$')
_FILE = 'record.json'
_AVERAGE = 'average/'  # Prefix of a metric that is the mean over peers.


@dataclass(frozen=True)
class Record:
    """A finished run.

    Attributes:
        epochs: The metrics of each epoch from 1, by column: ``'top1'`` for the
            full network, ``'exit1'``, ... for its exits, in percent. Of several networks (peers)
            ``'top1'`` is the mean, and each peer has a column of its name.
        command: Of the run.
        commit: Of the code, with ``-dirty`` if the tree had changes; several if it changed
            between a start and a resumption.
        hardware: Description of the machine.
    """

    epochs: dict[int, dict[str, float]]
    command: str
    commit: str
    hardware: str

    def last(self) -> dict[str, float]:
        """Return the metrics of the last epoch."""
        return self.epochs[max(self.epochs)]

    def best(self) -> dict[str, float]:
        """Return the metrics of the epoch in which the full network was best."""
        return max(self.epochs.values(), key=lambda metrics: metrics['top1'])


def read_record(run: Run) -> Record | None:
    """Return the record of a run; None if it is not finished.

    Raises:
        InputError: If the file is damaged.
    """
    path = run.work_dir / _FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        epochs = {
            int(epoch): {name: float(value) for name, value in metrics.items()}
            for epoch, metrics in content.pop('epochs').items()
        }
        return Record(epochs=epochs, **content)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f'{path} is damaged; delete {run.work_dir} and run again') from error


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
            'evaluate the last epoch'
        )
    lines = log_of(run).read_text(encoding='utf-8', errors='replace').splitlines()
    commits = [line.removeprefix(COMMIT) for line in lines if line.startswith(COMMIT)]
    record = Record(epochs, command, ', '.join(dict.fromkeys(commits)), hardware)
    unfinished = run.work_dir / f'.{_FILE}.unfinished'
    unfinished.write_text(json.dumps(asdict(record), indent=1) + '\n', encoding='utf-8')
    unfinished.replace(run.work_dir / _FILE)
    return record


def logged_hardware(work_dir: Path) -> str:
    """Return the machine that a run's last start has logged; ``'unknown'`` if it has not."""
    for log in sorted(work_dir.glob('*/*.log'), reverse=True):
        if (hardware := read_run_log(log).hardware) is not None:
            return hardware
    return 'unknown'


def logged_epochs(work_dir: Path, metric: str) -> dict[int, dict[str, float]]:
    """Return the metrics that a run and its resumptions logged, by epoch.

    Args:
        work_dir: With the logs ``*/vis_data/scalars.json``.
        metric: Of the full network; those of exits are ``exit1/top1``, .... If it is the mean of
            several networks, ``average/X``, theirs are ``<peer>/X``.
    """
    epochs: dict[int, dict[str, float]] = {}
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
                exits = {f'exit{m[1]}': v for k, v in logged.items() if (m := _EXIT.match(k))}
                # The last exit is the full network.
                exits.pop(f'exit{len(exits)}', None)
                peers = _of_peers(logged, metric)
                epochs[logged['step']] = {**exits, **peers, 'top1': logged[metric]}
    return epochs


def _of_peers(logged: dict[str, float], metric: str) -> dict[str, float]:
    """Return each peer's metric by its name; none if ``metric`` is not a mean over peers."""
    if not metric.startswith(_AVERAGE):
        return {}
    peer = re.compile(f'([^/]+)/{re.escape(metric.removeprefix(_AVERAGE))}')
    others = {k: v for k, v in logged.items() if k != metric and not _EXIT.match(k)}
    return {m[1]: v for k, v in others.items() if (m := peer.fullmatch(k))}
