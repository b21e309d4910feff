"""What is wrong with the flags of ``mmmuse table``, found without a library."""

import argparse
from importlib.util import find_spec

from mmmuse.environment.install import install_command
from mmmuse.errors import InputError
from mmmuse.jobs.slurm_options import SlurmOptions, check_slurm

# The flags of Slurm, and their defaults.
_SLURM = {
    'partition': None,
    'time': None,
    'gpus_per_run': 1,
    'cpus_per_run': 5,
    'array_parallelism': 16,
    'slurm': (),
    'cancel_on_interrupt': False,
}


def check_table_flags(args: argparse.Namespace) -> SlurmOptions | None:
    """Check the flags that say where the runs are trained, and set those that are not given.

    Args:
        args: The flags. What Slurm has accepted is noted in them: it is asked once.

    Returns:
        What Slurm is asked for; None where the runs are trained on this machine, or none is.

    Raises:
        InputError: If flags of the other cluster are given, submitit is missing, or Slurm refuses.
    """
    for package in ('scipy', 'submitit')[: 1 if args.report else 2]:
        if find_spec(package) is None:
            raise InputError(
                f'mmmuse table needs the package {package}: {install_command("cluster")}'
            )
    if args.report:
        return None
    if (accepted := getattr(args, 'accepted_by_slurm', None)) is not None:
        return accepted
    if args.cluster == 'local':
        given = [name for name in _SLURM if getattr(args, name) not in (None, False)]
        if given:
            raise InputError(f'--{given[0].replace("_", "-")} needs --cluster slurm')
        return None
    if args.device:
        raise InputError('--device needs --cluster local; with slurm, --gpus-per-run 0 is the CPU')
    for name, default in _SLURM.items():
        if getattr(args, name) is None:
            setattr(args, name, default)
    args.accepted_by_slurm = check_slurm(
        args.partition,
        args.time,
        args.gpus_per_run,
        args.cpus_per_run,
        args.array_parallelism,
        args.slurm,
    )
    return args.accepted_by_slurm
