"""The commit of the code that runs."""

import subprocess
from pathlib import Path

from mmmuse.version import __version__

COMMIT = 'commit: '  # Prefix of a line that is logged at each start of a run.


def code_version() -> str:
    """Return the commit of this code, with ``-dirty`` if there are changes; without git the version."""
    folder, name = Path(__file__).parent, Path(__file__).name
    described = ['describe', '--always', '--dirty', '--exclude', '*']
    try:
        # An installed package may lie in a repository of another project.
        for command in (['ls-files', '--error-unmatch', name], described):
            answer = subprocess.run(
                ['git', *command], cwd=folder, capture_output=True, text=True, check=True
            )
    except (OSError, subprocess.CalledProcessError):
        return __version__
    return answer.stdout.strip()
