"""Programs that stand in for Slurm's where it is not installed."""

from pathlib import Path

COMMANDS = ('sbatch', 'squeue', 'scancel', 'scontrol', 'sinfo', 'srun')


def fake_slurm(folder: Path, without: str = '', **scripts: str) -> str:
    """Write programs of Slurm's names, and return their folder, which is to be the ``PATH``.

    Args:
        folder: A new one.
        without: The one that is missing.
        **scripts: What they do, as shell scripts; by default they succeed, and ``sinfo`` has two partitions.
    """
    folder.mkdir()
    scripts = {'sinfo': 'echo "main*|1:00:00"; echo "long|infinite"', **scripts}
    for name in COMMANDS:
        if name != without:
            path = folder / name
            path.write_text(
                f'#!/bin/sh\necho "{name} $*" >> {folder}/calls\n{scripts.get(name, ":")}\n'
            )
            path.chmod(0o755)
    return str(folder)


def calls(folder: str) -> list[str]:
    """Return the commands that were called."""
    path = Path(folder) / 'calls'
    return path.read_text().splitlines() if path.is_file() else []
