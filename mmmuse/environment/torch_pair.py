"""Whether torchvision is the one that belongs to torch."""

import re
from importlib import metadata

from .libraries import release, version_of


def misfit() -> str | None:
    """Return what does not fit by the versions, or None.

    torchvision's distribution names the version of torch that it was built for. A difference in the
    patch version is accepted.
    """
    torch, torchvision = version_of('torch'), version_of('torchvision')
    if torch is None or torchvision is None:
        return None
    wanted = _wanted_torch()
    if wanted is None or release(wanted)[:2] == release(torch)[:2]:
        return None
    return f'torchvision {torchvision} was built for torch {wanted}, and torch {torch} is installed'


def fitting_torchvision() -> str:
    """Return the command that installs the torchvision for the installed torch.

    torchvision 0.(15 + N) belongs to torch 2.N.
    """
    major, minor, *_ = (*release(version_of('torch') or ''), 0, 0)
    if major != 2:
        return 'pip install --upgrade torch torchvision'
    return f'pip install "torchvision==0.{minor + 15}.*"'


def _wanted_torch() -> str | None:
    for requirement in metadata.requires('torchvision') or ():
        match = re.fullmatch(r'torch\s*\(?==\s*([\w.+]+)\)?', requirement.partition(';')[0].strip())
        if match:
            return match[1]
    return None
