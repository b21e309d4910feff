"""What is asked of Slurm for each run, checked before anything is written.

No library is imported, so that the flags of a command are checked at once.
"""

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mmmuse.errors import InputError

_COMMANDS = ('sbatch', 'squeue', 'scancel', 'scontrol', 'sinfo', 'srun')
_TIME = re.compile(r'(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?')
_MOST_MINUTES = 24 * 60  # Of a run without --time: a longer one is queued again and resumed.
_SECONDS = 60  # For an answer of Slurm.

# Options of sbatch that the command or submitit sets.
_OURS = {
    **dict.fromkeys(('partition', 'time', 'array-parallelism'), 'it has a flag of its own name'),
    **dict.fromkeys(('gpus-per-node', 'gpus', 'gpus-per-task', 'gres'), 'use --gpus-per-run'),
    'cpus-per-task': 'use --cpus-per-run',
    **dict.fromkeys(
        (
            *('array', 'signal', 'output', 'error', 'open-mode', 'job-name', 'nodes', 'ntasks'),
            *('ntasks-per-node', 'requeue', 'wrap', 'test-only'),
        ),
        'the command sets it itself',
    ),
}


@dataclass(frozen=True)
class SlurmOptions:
    """What Slurm is asked for.

    Attributes:
        partition: Its name; None for Slurm's default.
        minutes: The time limit of a job, after which it is queued again.
        gpus: GPUs of a run.
        cpus: Processors of a run.
        array_parallelism: Runs at a time.
        more: Other options of ``sbatch``, by their names.
    """

    partition: str | None
    minutes: int
    gpus: int = 1
    cpus: int = 5
    array_parallelism: int = 16
    more: Mapping[str, str] = field(default_factory=dict)

    def flags(self) -> list[str]:
        """Return the flags of ``sbatch``."""
        flags = {'time': self.minutes, 'nodes': 1, 'cpus-per-task': self.cpus, **self.more}
        if self.partition is not None:
            flags['partition'] = self.partition
        if self.gpus:
            flags['gpus-per-node'] = self.gpus
        return [f'--{name}={value}' for name, value in flags.items()]


def check_slurm(
    partition: str | None,
    time: str | None,
    gpus: int,
    cpus: int,
    array_parallelism: int,
    more: Sequence[str],
) -> SlurmOptions:
    """Read the flags of a command and ask Slurm whether it takes such jobs; nothing is submitted.

    Args:
        partition: Of ``--partition``.
        time: Of ``--time``, in a format of Slurm; None for a day, or the limit of the partition if that is
            shorter.
        gpus: At least 0.
        cpus: At least 1.
        array_parallelism: At least 1.
        more: ``OPTION=VALUE`` of ``sbatch``.

    Raises:
        InputError: If Slurm is not installed or does not answer, or a value is refused.
    """
    for name, value, least in (
        ('--gpus-per-run', gpus, 0),
        ('--cpus-per-run', cpus, 1),
        ('--array-parallelism', array_parallelism, 1),
    ):
        if value < least:
            raise InputError(f'{name} is at least {least}, got {value}')
    options = {}
    for text in more:
        name, equals, value = text.partition('=')
        if not name or not equals:
            raise InputError(
                f'--slurm takes OPTION=VALUE of sbatch, e.g. account=vision, got {text!r}'
            )
        name = name.lstrip('-').replace('_', '-')
        if name in _OURS:
            raise InputError(f'--slurm {name}={value}: {_OURS[name]}')
        options[name] = value
    asked = None if time is None else minutes_of(time)
    missing = [name for name in _COMMANDS if shutil.which(name) is None]
    if missing:
        raise InputError(
            f'{missing[0]} not found: --cluster slurm runs where jobs of Slurm can be submitted'
        )
    minutes = _checked_minutes(partition, asked)
    checked = SlurmOptions(partition, minutes, gpus, cpus, array_parallelism, options)
    _try_submission(checked)
    return checked


def minutes_of(time: str) -> int:
    """Return the minutes of a time limit in a format of Slurm, rounded up.

    Args:
        time: ``minutes``, ``minutes:seconds``, ``hours:minutes:seconds``, ``days-hours``,
            ``days-hours:minutes`` or ``days-hours:minutes:seconds``.

    Raises:
        InputError: If it is none of these, or 0.

    Example:
        >>> minutes_of('90'), minutes_of('1:30:00'), minutes_of('2-12'), minutes_of('2:01')
        (90, 90, 3600, 3)
    """
    match = _TIME.fullmatch(time)
    days, *rest = match.groups() if match else (None, None)
    parts = [int(part) for part in rest if part is not None]
    if days is not None:  # Counted from the hours.
        hours, minutes, seconds = (*parts, 0, 0)[:3]
    elif len(parts) == 3:
        hours, minutes, seconds = parts
    else:
        hours, (minutes, seconds) = 0, (*parts, 0, 0)[:2]
    total = (int(days or 0) * 24 + hours) * 60 + minutes + (seconds > 0)
    if not total:
        raise InputError(
            f'--time is a time limit of Slurm, e.g. 90 (minutes), 12:00:00 or 2-00, got {time!r}'
        )
    return total


def _checked_minutes(partition: str | None, asked: int | None) -> int:
    """Return the time limit, which the partition allows."""
    limits = _partitions()
    if partition is not None and partition not in limits:
        raise InputError(f'no partition {partition!r} in Slurm; available: {", ".join(limits)}')
    default = next((name for name, (_, is_default) in limits.items() if is_default), None)
    name = partition or default
    limit = limits[name][0] if name is not None else None
    if asked is None:
        return min(filter(None, (_MOST_MINUTES, limit)))
    if limit is not None and asked > limit:
        raise InputError(
            f'--time is {asked} minutes, and partition {name!r} allows {limit}: a run that takes longer is '
            'queued again and resumed'
        )
    return asked


def _partitions() -> dict[str, tuple[int | None, bool]]:
    """Return the time limit of each partition in minutes, and whether it is Slurm's default."""
    answer = answer_of(['sinfo', '--noheader', '--format=%P|%l'])
    found = {}
    for line in answer.splitlines():
        name, _, limit = line.strip().partition('|')
        known = _TIME.fullmatch(limit) is not None
        found[name.removesuffix('*')] = (minutes_of(limit) if known else None, name.endswith('*'))
    return found


def _try_submission(options: SlurmOptions) -> None:
    """Let ``sbatch`` check a job without submitting it."""
    answer_of(['sbatch', '--test-only', *options.flags(), '--wrap=true'])


def answer_of(command: Sequence[str]) -> str:
    """Return what a command of Slurm prints.

    Raises:
        InputError: If it fails, with its message in one line.
    """
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f'{command[0]} does not answer: {error}') from error
    if answer.returncode:
        raise InputError(slurm_error(command[0], answer.stderr or answer.stdout))
    return answer.stdout


def slurm_error(program: str, text: str) -> str:
    """Return the messages of a command of Slurm in one line."""
    prefix = re.compile(rf'^{program}: (?:error|fatal): |^allocation failure: ')
    lines = [prefix.sub('', line.strip()) for line in text.splitlines() if line.strip()]
    return f'{program}: {"; ".join(dict.fromkeys(lines)) or "failed without a message"}'
