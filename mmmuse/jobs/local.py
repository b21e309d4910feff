"""Jobs on the devices of this machine, one at a time on each slot."""

import os
import shutil
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmmuse.errors import InputError

from .devices import environment
from .run_lock import holder, process_of
from .signals_later import signals_later
from .training import SECONDS_TO_STOP, Training, read_outcome

# Submitit's jobs have a time limit; its default is five minutes.
_TIMEOUT_MINUTES = 10 * 365 * 24 * 60
_POLL_SECONDS = 0.2


@dataclass
class _Slot:
    """A training, and submitit's job; None of a training that an earlier command started."""

    training: Training
    job: Any = None
    interrupted: bool = False

    @property
    def folder(self) -> Path:
        return job_folder(self.training)

    def is_running(self) -> bool:
        """Return whether the job or a process of the training is left."""
        return not (self.job is None or self.job.done()) or holder(self.training.lock) is not None

    def stop(self) -> None:
        """Ask the job to stop, any number of times."""
        facts = holder(self.training.lock)
        job = process_of(facts, 'pid')
        if job is None and self.job is not None and not self.job.done():
            job = int(self.job.job_id)
        if job is not None:
            os.kill(job, signal.SIGTERM)
            return
        process = process_of(facts, 'process')
        if process is not None and not self.interrupted:  # Its job was killed.
            self.interrupted = True
            os.kill(process, signal.SIGINT)

    def kill(self) -> None:
        """End what did not stop."""
        process = process_of(holder(self.training.lock), 'process')
        if process is not None:
            os.kill(process, signal.SIGKILL)


class LocalJobs:
    """Submitit's jobs on this machine, as many at a time as there are slots.

    Submitit starts a job at once, has no queue, and loses sight of a job when the process that started it
    ends. The slots, a job's share of the processor, and the lock by which another command finds a running job
    are ours.

    Args:
        devices: The slots; see :func:`mmmuse.jobs.devices.check_devices`.
    """

    poll_seconds = 1.0

    def __init__(self, devices: Sequence[str]) -> None:
        self.devices = list(devices)
        self._slots: dict[int, _Slot] = {}

    def attach(self, trainings: Sequence[Training]) -> list[Training]:
        """Put trainings that an earlier command started, and that still run, into the slots.

        Raises:
            InputError: If one runs on another machine.
        """
        found = []
        for training in trainings:
            facts = holder(training.lock)
            if facts is None:
                continue
            here = socket.gethostname()
            if (facts.get('cluster', 'local'), facts.get('host', here)) != ('local', here):
                raise InputError(
                    f'{training.name} is running on {facts.get("host")}, started with --cluster '
                    f'{facts.get("cluster")}: wait for its end, or start the same command there'
                )
            device = str(facts.get('device') or self.devices[0])
            free = [
                i for i, own in enumerate(self.devices) if own == device and i not in self._slots
            ]
            number = free[0] if free else len(self.devices) + len(found)
            self._slots[number] = _Slot(replace(training, device=device))
            found.append(training)
        return found

    def submit(self, trainings: Sequence[Training]) -> list[Training]:
        """Start trainings in the free slots; return those that were started."""
        started = []
        for number, device in enumerate(self.devices):
            if number in self._slots or len(started) == len(trainings):
                continue
            training = trainings[len(started)]
            own = {**training.environment, **environment(device, self.devices)}
            self._start(number, replace(training, device=device, environment=own))
            started.append(training)
        return started

    def _start(self, number: int, training: Training) -> None:
        from submitit import LocalExecutor

        slot = self._slots[number] = _Slot(training)
        shutil.rmtree(slot.folder, ignore_errors=True)
        training.outcome.unlink(missing_ok=True)
        executor = LocalExecutor(slot.folder, max_num_timeout=0)
        executor.update_parameters(timeout_min=_TIMEOUT_MINUTES, stderr_to_stdout=True)
        with signals_later():
            slot.job = executor.submit(training)

    def ended(self) -> list[tuple[Training, int | None, str]]:
        """Return the trainings that ended since the last call, their exit codes, and what else is known."""
        found = []
        for number, slot in list(self._slots.items()):
            if slot.is_running():
                continue
            del self._slots[number]
            code = read_outcome(slot.training.outcome)
            if code is not None:
                shutil.rmtree(slot.folder, ignore_errors=True)
            found.append(
                (slot.training, code, f'its job ended without an exit code; see {slot.folder}')
            )
        return found

    def withdraw(self, trainings: Sequence[Training]) -> list[Training]:
        """Return no trainings: none has been submitted that is not running."""
        return []

    def status(self) -> str:
        """Return an empty text: all that is started is running."""
        return ''

    def stop(self) -> str:
        """Interrupt every training at once, wait for all, and say what was done."""
        end = time.monotonic() + SECONDS_TO_STOP['local'] + 10
        while self._slots and time.monotonic() < end:
            for slot in self._slots.values():
                with suppress(ProcessLookupError):
                    slot.stop()
            time.sleep(_POLL_SECONDS)
            self.ended()
        for slot in self._slots.values():
            with suppress(ProcessLookupError):
                slot.kill()
        return ''


def job_folder(training: Training) -> Path:
    """Return the folder of submitit's files for a training."""
    return training.work_dir.with_name(f'{training.work_dir.name}.job')
