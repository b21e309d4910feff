"""Slurm's queue, as ``squeue`` prints it."""

import getpass
from collections.abc import Sequence
from dataclasses import dataclass

from .slurm_options import answer_of

_WAITING = {'PENDING', 'REQUEUED', 'REQUEUE_FED', 'REQUEUE_HOLD', 'SPECIAL_EXIT', 'RESV_DEL_HOLD'}
# Slurm shows a job that has ended for some minutes.
_ENDED = {'BOOT_FAIL', 'CANCELLED', 'COMPLETED', 'DEADLINE', 'FAILED', 'LAUNCH_FAILED', 'NODE_FAIL'}
_ENDED |= {'OUT_OF_MEMORY', 'PREEMPTED', 'REVOKED', 'TIMEOUT'}


@dataclass(frozen=True)
class QueueEntry:
    """A job in the queue.

    Attributes:
        number: Slurm's, with the index in an array: ``'17_3'``.
        name: Of the job or array.
        state: In Slurm's words.
        reason: Why it waits.
    """

    number: str
    name: str
    state: str
    reason: str

    @property
    def index(self) -> int:
        """Index in its array; 0 of a single job."""
        index = self.number.partition('_')[2]
        return int(index) if index.isdigit() else 0

    @property
    def is_waiting(self) -> bool:
        """Whether it has not started, or has been queued again."""
        return self.state in _WAITING

    @property
    def is_left(self) -> bool:
        """Whether it is waiting, running or about to end."""
        return self.state not in _ENDED


def read_queue() -> list[QueueEntry]:
    """Return this user's jobs.

    Raises:
        InputError: If Slurm does not answer.
    """
    what = ['--array', '--states=all', '--noheader', '--format=%i|%j|%T|%r']
    answer = answer_of(['squeue', f'--user={getpass.getuser()}', *what])
    fields = [line.strip().split('|', 3) for line in answer.splitlines() if line.count('|') >= 3]
    return [QueueEntry(*each) for each in fields]


def entry_of(queue: Sequence[QueueEntry], name: str, index: int) -> QueueEntry | None:
    """Return the job of an array in the queue; None if it is not there."""
    return next((entry for entry in queue if (entry.name, entry.index) == (name, index)), None)
