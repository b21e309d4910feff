"""The libraries that mmmuse runs on, under the names of their distributions."""

import re
from dataclasses import dataclass, field
from importlib import metadata
from importlib.util import find_spec

FORK = 'maintained fork'
ORIGINAL = "OpenMMLab's own release"


@dataclass(frozen=True)
class Library:
    """A library, and the distributions that install it.

    Attributes:
        module: Name by which it is imported.
        originals: Least version of each distribution of its authors.
        forks: Least version of each distribution of the maintained fork.
        needed: Whether no command runs without it.
        install: What to install beside OpenMMLab's own releases.
        undeclared: What the original imports and its metadata do not require.
    """

    module: str
    originals: dict[str, str]
    forks: dict[str, str] = field(default_factory=dict)
    needed: bool = True
    install: str = ''
    undeclared: tuple[str, ...] = ()

    def requirement(self, fork: bool) -> str:
        """Return the requirement of the fork or of the original."""
        if fork and self.forks:
            name, least = next(iter(self.forks.items()))
            return f'{name}>={least}'
        name, least = next(iter(self.originals.items()))
        return self.install or f'{name}>={least}'

    def to_install(self, fork: bool) -> str:
        """Return the requirement, quoted for a shell, and what else the original needs."""
        needs = (self.requirement(fork), *(() if fork and self.forks else self.undeclared))
        return ' '.join(f'"{each}"' for each in needs)


TORCH = Library('torch', {'torch': '2.1'})
TORCHVISION = Library('torchvision', {'torchvision': '0.16'})
OPENMMLAB = (
    Library(
        'mmengine', {'mmengine': '0.10.7', 'mmengine-lite': '0.10.7'}, {'onedl-mmengine': '0.10.12'}
    ),
    Library(
        'mmcv',
        {'mmcv': '2.1.0', 'mmcv-lite': '2.1.0', 'mmcv-full': '2.1.0'},
        {'onedl-mmcv': '2.3.6', 'onedl-mmcv-lite': '2.3.6'},
        install='mmcv-lite==2.1.0',  # mmdet 3.3.0 refuses 2.2.
    ),
    Library('mmpretrain', {'mmpretrain': '1.2.0'}, {'onedl-mmpretrain': '1.3.6'}),
    Library('mmdet', {'mmdet': '3.3.0'}, {'onedl-mmdetection': '3.5.1'}, needed=False),
    Library(
        'mmseg',
        {'mmsegmentation': '1.2.2'},
        {'onedl-mmsegmentation': '1.4.2'},
        needed=False,
        install='mmsegmentation==1.2.2',
        undeclared=('ftfy', 'regex'),
    ),
)


@dataclass(frozen=True)
class Installed:
    """What is there of a library.

    Attributes:
        library: The library.
        distributions: Version of each installed distribution that owns it.
        found: Whether it can be found by an import.
    """

    library: Library
    distributions: dict[str, str]
    found: bool

    @property
    def version(self) -> str | None:
        """Version of the first distribution, if any is recorded."""
        return next(iter(self.distributions.values()), None)

    @property
    def kind(self) -> str:
        """Fork or original; empty where nothing is recorded or there is one kind only."""
        if not self.library.forks or not self.distributions:
            return ''
        return FORK if next(iter(self.distributions)) in self.library.forks else ORIGINAL

    @property
    def too_old(self) -> str | None:
        """The distribution that is older than its least version, with both versions."""
        least = {**self.library.originals, **self.library.forks}
        for name, version in self.distributions.items():
            if release(version) < release(least[name]):
                return f'{name} {version} is too old, at least {least[name]} is needed'
        return None


def installed(library: Library) -> Installed:
    """Look for a library without importing it."""
    versions = {}
    for name in (*library.forks, *library.originals):
        version = version_of(name)
        if version is not None:
            versions[name] = version
    spec = find_spec(library.module)
    # A folder that an uninstall has left behind is a namespace package, without a file.
    return Installed(library, versions, spec is not None and spec.origin is not None)


def version_of(distribution: str) -> str | None:
    """Return the version of an installed distribution."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version.

    Example::

        >>> release('2.4.1+cu121'), release('2.13.0rc1')
        ((2, 4, 1), (2, 13, 0))
    """
    numbers = re.match(r'\d+(\.\d+)*', version)
    return tuple(map(int, numbers[0].split('.'))) if numbers else ()
