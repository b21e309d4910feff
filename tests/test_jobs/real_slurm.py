"""A Slurm of one node, in a temporary folder and on ports of its own.

``python -m tests.test_jobs.real_slurm FOLDER`` starts it, prints what to export and runs until Ctrl-C.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DAEMONS = ('munged', 'slurmctld', 'slurmd')
COMMANDS = ('sbatch', 'squeue', 'sinfo', 'scancel', 'scontrol', 'srun')
NODE = 'one'  # NodeHostname makes it this machine.
SECONDS = 30  # For each of the daemons.

CONFIG = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
# Containers lack what cgroups need.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=100000,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
KillWait=30
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes={node} Default=YES MaxTime=60 PriorityTier=1 GraceTime=30 State=UP
PartitionName=urgent Nodes={node} MaxTime=60 PriorityTier=2 PreemptMode=OFF State=UP
"""


class UnavailableError(Exception):
    """Slurm is not installed here, or does not start."""


@contextmanager
def started(folder: Path) -> Iterator[dict[str, str]]:
    """Start munged, slurmctld and slurmd, and end them by their ids.

    Args:
        folder: Short (the path of a socket has at most 107 bytes) and private.

    Yields:
        The variables with which Slurm's commands find this cluster.

    Raises:
        UnavailableError: If Slurm is not installed, or does not start here.
    """
    _check_installed()
    daemons: list[subprocess.Popen] = []
    variables = {'SLURM_CONF': str(folder / 'slurm.conf')}
    try:
        _configure(folder)
        socket_file = folder / 'munge.socket'
        daemons.append(_start(folder, 'munged', *_munge_flags(folder, socket_file)))
        _wait('munged', daemons, folder, socket_file.exists)
        environment = {**os.environ, **variables}
        daemons.append(_start(folder, 'slurmctld', '-D', env=environment))
        daemons.append(_start(folder, 'slurmd', '-D', '-N', NODE, env=environment))
        _wait('slurmd', daemons, folder, lambda: _is_idle(environment))
        yield variables
    finally:
        if len(daemons) == len(DAEMONS):
            _end_jobs(environment)
        for daemon in reversed(daemons):
            _end(daemon)


def _check_installed() -> None:
    path = f'{os.environ.get("PATH", "")}:/usr/sbin'
    missing = [name for name in (*DAEMONS, *COMMANDS) if shutil.which(name, path=path) is None]
    if missing:
        raise UnavailableError(
            f'Slurm is not installed ({", ".join(missing)}): apt install slurm-wlm'
        )
    if os.getuid() != 0:
        raise UnavailableError('slurmd runs jobs only if it is started by root')


def _configure(folder: Path) -> None:
    for name in ('state', 'spool'):
        (folder / name).mkdir()
    key = folder / 'munge.key'
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    ports = _free_ports(2)
    text = CONFIG.format(
        folder=folder,
        host=socket.gethostname().split('.')[0],
        user=pwd.getpwuid(os.getuid()).pw_name,
        controller=ports[0],
        daemon=ports[1],
        node=NODE,
    )
    (folder / 'slurm.conf').write_text(text)


def _munge_flags(folder: Path, socket_file: Path) -> list[str]:
    files = {
        '--key-file': folder / 'munge.key',
        '--pid-file': folder / 'munge.pid',
        '--seed-file': folder / 'munge.seed',
        '--log-file': folder / 'munge.log',
        '--socket': socket_file,
    }
    flags = [f'{flag}={path}' for flag, path in files.items()]
    # A temporary folder may be writable by all.
    return ['--foreground', '--force', '--num-threads=2', *flags]


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _start(folder: Path, name: str, *flags: str, env: dict | None = None) -> subprocess.Popen:
    program = shutil.which(name, path=f'{os.environ.get("PATH", "")}:/usr/sbin')
    with (folder / f'{name}.out').open('w') as out:
        return subprocess.Popen(
            [program, *flags], stdout=out, stderr=subprocess.STDOUT, env=env, start_new_session=True
        )


def _wait(name: str, daemons: list[subprocess.Popen], folder: Path, ready) -> None:
    end = time.monotonic() + SECONDS
    while not ready():
        ended = any(daemon.poll() is not None for daemon in daemons)
        if ended or time.monotonic() > end:
            logs = ' '.join(path.read_text()[-300:] for path in sorted(folder.glob('*.out')))
            raise UnavailableError(f'{name} does not start here: {" ".join(logs.split())}')
        time.sleep(0.1)


def _is_idle(environment: dict[str, str]) -> bool:
    command = ['sinfo', '--noheader', '--format=%T', '--partition=main']
    answer = subprocess.run(command, env=environment, capture_output=True, text=True)
    return answer.stdout.strip() == 'idle'


def _end_jobs(environment: dict[str, str]) -> None:
    """Cancel all jobs, and wait for their end, so that no process is left without its daemon."""
    subprocess.run(['scancel', f'--user={pwd.getpwuid(os.getuid()).pw_name}'], env=environment)
    end = time.monotonic() + 2 * SECONDS
    while time.monotonic() < end:
        left = subprocess.run(
            ['squeue', '--noheader'], env=environment, capture_output=True, text=True
        )
        if not left.stdout.strip():
            return
        time.sleep(0.2)


def _end(daemon: subprocess.Popen) -> None:
    with suppress(ProcessLookupError):
        daemon.send_signal(signal.SIGTERM)
    try:
        daemon.wait(15)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


if __name__ == '__main__':
    with started(Path(sys.argv[1])) as cluster:
        print(' '.join(f'{name}={value}' for name, value in cluster.items()), flush=True)
        with suppress(KeyboardInterrupt):
            signal.pause()
