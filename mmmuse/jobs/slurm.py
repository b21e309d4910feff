"""Jobs in Slurm, submitted by submitit as one array."""

import json
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from mmmuse.errors import InputError

from .run_lock import holder
from .signals_later import signals_later
from .slurm_options import SlurmOptions, answer_of, slurm_error
from .slurm_queue import QueueEntry, entry_of, read_queue
from .training import Training, read_outcome

_PREFIX = 'mmmuse-'
_RUNS = 'runs.json'
# A run whose time is over is queued again and resumed, this many times.
_MOST_TIMEOUTS = 100
_SECONDS_TO_SEE = 15  # Until a file that a job has written is seen on a network file system.
_SECONDS_TO_CANCEL = 120
_SECONDS_OF_WARNING = 90  # Before the end of the time.


@dataclass
class _Job:
    """A training in Slurm's queue."""

    training: Training
    name: str  # Of the array.
    index: int  # In the array.
    entry: QueueEntry | None = None
    gone_since: float | None = None

    @property
    def is_waiting(self) -> bool:
        return self.entry is None or self.entry.is_waiting


class SlurmJobs:
    """Submitit's jobs in Slurm: an array for all trainings of a table.

    The state of a job is read from ``squeue``, since submitit reads that of ``sacct``, which needs Slurm's
    accounting. A training notes its exit code in a file, which is JSON: submitit's results are pickles, and
    the table loads none.

    Args:
        options: What each run asks for.
        folder: Absolute folder for submitit's files, which all nodes see.
        cancel: Whether :meth:`stop` cancels the jobs.
    """

    poll_seconds = 5.0

    def __init__(self, options: SlurmOptions, folder: Path, cancel: bool = False) -> None:
        self.options = options
        self.folder = folder
        self.cancel = cancel
        self._jobs: list[_Job] = []
        self._fault = ''
        self._kept: set[str] = set()  # Arrays whose logs say why a job was lost.

    def attach(self, trainings: Sequence[Training]) -> list[Training]:
        """Return trainings that an earlier command submitted and that are waiting or running.

        Raises:
            InputError: If one runs outside of Slurm.
        """
        by_folder = {str(training.work_dir): training for training in trainings}
        queue = read_queue()
        for path in sorted(self.folder.glob(f'*/{_RUNS}')):
            name, runs = path.parent.name, _read_runs(path)
            if self._remove_files(name, queue):
                continue
            for index, work_dir in enumerate(runs):
                entry = entry_of(queue, name, index)
                if work_dir in by_folder and entry is not None and entry.is_left:
                    self._jobs.append(_Job(by_folder.pop(work_dir), name, index, entry))
        for training in by_folder.values():
            facts = holder(training.lock)
            if facts is not None and facts.get('cluster') != 'slurm':
                raise InputError(
                    f'{training.name} is running on {facts.get("host")}, started without --cluster '
                    'slurm: stop it there first'
                )
        return [job.training for job in self._jobs]

    def submit(self, trainings: Sequence[Training]) -> list[Training]:
        """Submit trainings as one array; return all of them.

        Raises:
            InputError: If Slurm refuses; no file is left.
        """
        if not trainings:
            return []
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        name = f'{_PREFIX}{uuid4().hex[:12]}'
        folder = self.folder / name
        folder.mkdir(parents=True)
        # Written before the jobs exist, so that the next command finds them whenever this one is killed.
        runs = json.dumps([str(training.work_dir) for training in trainings])
        (folder / _RUNS).write_text(runs + '\n', encoding='utf-8')
        own = {'OMP_NUM_THREADS': str(self.options.cpus)}
        for training in trainings:
            training.outcome.unlink(missing_ok=True)
        executor = SlurmExecutor(folder, max_num_timeout=_MOST_TIMEOUTS)
        executor.update_parameters(**_parameters(self.options, name))
        try:
            with signals_later():
                executor.submit_array(
                    [replace(each, environment={**each.environment, **own}) for each in trainings]
                )
                self._jobs += [_Job(each, name, index) for index, each in enumerate(trainings)]
        except (FailedJobError, FailedSubmissionError) as error:
            self._remove_files(name, [])
            raise InputError(slurm_error('sbatch', str(error))) from error
        return list(trainings)

    def ended(self) -> list[tuple[Training, int | None, str]]:
        """Return the trainings that ended since the last call, their exit codes, and what else is known."""
        try:
            queue = read_queue()
        except InputError as error:  # Slurm's controller may be away for a while.
            self._fault = str(error)
            return []
        self._fault = ''
        self._update(queue)
        found = []
        for job in [job for job in self._jobs if job.gone_since is not None]:
            code = read_outcome(job.training.outcome)
            if code is None and time.monotonic() < job.gone_since + _SECONDS_TO_SEE:
                continue
            self._jobs.remove(job)
            if code is None:
                self._kept.add(job.name)
            state = 'not in the queue' if job.entry is None else job.entry.state
            found.append((job.training, code, f'its job is {state}; see {self.folder / job.name}'))
            self._remove_files(job.name, queue)
        return found

    def withdraw(self, trainings: Sequence[Training]) -> list[Training]:
        """Cancel the jobs of trainings that have not started; return these trainings."""
        folders = {training.work_dir for training in trainings}
        waiting = [
            job
            for job in self._jobs
            if job.training.work_dir in folders and job.entry and job.is_waiting
        ]
        if not waiting:
            return []
        try:
            answer_of(['scancel', '--state=PENDING', *(job.entry.number for job in waiting)])
            queue = read_queue()
        except InputError as error:  # They stay in the queue and are watched.
            self._fault = str(error)
            return []
        # One that has started meanwhile goes on.
        for job in list(waiting):
            entry = entry_of(queue, job.name, job.index)
            if entry is not None and entry.is_left and not entry.is_waiting:
                waiting.remove(job)
        self._jobs = [job for job in self._jobs if job not in waiting]
        return [job.training for job in waiting]

    def status(self) -> str:
        """Return how many are running and waiting, and why."""
        if self._fault:
            return self._fault
        waiting = [job for job in self._jobs if job.is_waiting]
        reasons = sorted({job.entry.reason for job in waiting if job.entry} - {'', 'None'})
        why = f' ({", ".join(reasons)})' if reasons else ''
        return f'{len(self._jobs) - len(waiting)} running, {len(waiting)} in the queue{why}'

    def stop(self) -> str:
        """Cancel the jobs, or leave them in the queue; return what was done."""
        if not self._jobs:
            return ''
        names = sorted({job.name for job in self._jobs})
        command = f'scancel --name={",".join(names)}'
        if not self.cancel:
            return (
                f'{len(self._jobs)} runs stay in Slurm: the same command goes on watching them, and '
                f'"{command}" cancels them'
            )
        answer_of(command.split())
        end = time.monotonic() + _SECONDS_TO_CANCEL
        while self._jobs and time.monotonic() < end:
            time.sleep(min(1, self.poll_seconds))
            self.ended()
        left = f'; {len(self._jobs)} have not ended yet' if self._jobs else ''
        return f'the runs in Slurm were cancelled{left}'

    def _remove_files(self, name: str, queue: Sequence[QueueEntry]) -> bool:
        """Remove submitit's files of an array of which no job is left; return whether they were."""
        ended = not any(entry.name == name and entry.is_left for entry in queue)
        if ended and name not in self._kept:
            shutil.rmtree(self.folder / name, ignore_errors=True)
            with suppress(OSError):  # Other arrays have files.
                self.folder.rmdir()
        return ended

    def _update(self, queue: list[QueueEntry]) -> None:
        for job in self._jobs:
            job.entry = entry_of(queue, job.name, job.index) or job.entry
            if any(entry == job.entry and entry.is_left for entry in queue):
                job.gone_since = None
            elif job.gone_since is None:
                job.gone_since = time.monotonic()


def _parameters(options: SlurmOptions, name: str) -> dict[str, Any]:
    """Return submitit's parameters for jobs."""
    return dict(
        job_name=name,
        partition=options.partition,
        time=options.minutes,
        nodes=1,
        cpus_per_task=options.cpus,
        gpus_per_node=options.gpus or None,
        array_parallelism=options.array_parallelism,
        stderr_to_stdout=True,
        signal_delay_s=_SECONDS_OF_WARNING,
        wckey=None,
        # Since Slurm 22.05 srun does not take it from sbatch.
        srun_args=[f'--cpus-per-task={options.cpus}'],
        additional_parameters={**options.more, 'requeue': True},
    )


def _read_runs(path: Path) -> list[str]:
    """Return the folders of the runs of an array, in its order; none if the file is damaged."""
    try:
        runs = json.loads(path.read_text(encoding='utf-8')) if path.is_file() else []
    except (ValueError, RecursionError):
        return []
    return [str(run) for run in runs] if isinstance(runs, list) else []
