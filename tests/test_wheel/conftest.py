"""Builds the wheel once, and installs it into fresh environments."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = {'forks': 'requirements.lock', 'originals': 'requirements-openmmlab.lock'}


def uv() -> str:
    """Return the path of uv, which the Makefile installs."""
    found = os.environ.get('UV') or shutil.which('uv') or ROOT / '.uv' / 'bin' / 'uv'
    if not Path(found).is_file():
        pytest.skip('uv is not installed: make env installs it, and make test-wheel finds it')
    return str(Path(found).resolve())


def call(
    *command: object, cwd: Path, environment: dict | None = None
) -> subprocess.CompletedProcess:
    """Run a program as a user would, without the clone on its path."""
    inherited = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    return subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**inherited, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=900,
    )


@dataclass
class Environment:
    """A virtual environment and a folder of a user's own, outside the clone.

    Attributes:
        kind: ``'forks'`` or ``'originals'``.
        path: Of the environment.
        folder: In which commands are run.
        before: Its packages before mmmuse was installed.
    """

    kind: str
    path: Path
    folder: Path
    before: list[str]

    def run(self, program: str, *arguments: object) -> subprocess.CompletedProcess:
        """Run a program of the environment that has to succeed."""
        bin = self.path / 'bin'
        environment = dict(PATH=f'{bin}{os.pathsep}{os.environ["PATH"]}', OMP_NUM_THREADS='1')
        command = ('bash', program) if program.endswith('.sh') else (bin / program,)
        finished = call(*command, *arguments, cwd=self.folder, environment=environment)
        assert finished.returncode == 0, (
            f'{program} {arguments}\n{finished.stdout}\n{finished.stderr}'
        )
        return finished

    def packages(self) -> list[str]:
        """Return name and version of every package in it."""
        return packages(self.path)


def packages(environment: Path) -> list[str]:
    """Return name and version of every package in an environment."""
    frozen = call(uv(), 'pip', 'freeze', '--python', environment, cwd=environment)
    assert frozen.returncode == 0, frozen.stderr
    return frozen.stdout.splitlines()


@pytest.fixture(scope='session')
def distributions(tmp_path_factory) -> tuple[Path, Path]:
    """The sdist and the wheel, which is built from it."""
    out = tmp_path_factory.mktemp('dist')
    built = call(uv(), 'build', '--quiet', '--out-dir', out, ROOT, cwd=out)
    assert built.returncode == 0, built.stderr
    (sdist,), (wheel,) = out.glob('*.tar.gz'), out.glob('*.whl')
    return sdist, wheel


def new_environment(path: Path) -> Path:
    """Create an empty environment with this Python."""
    made = call(uv(), 'venv', '--quiet', '--python', sys.executable, path, cwd=path.parent)
    assert made.returncode == 0, made.stderr
    return path


def install_wheel(environment: Path, wheel: Path) -> None:
    """Install the wheel and what it needs, as ``pip install`` does."""
    done = call(uv(), 'pip', 'install', '--quiet', '--python', environment, wheel, cwd=environment)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope='session', params=LOCKS)
def environment(request, distributions, tmp_path_factory) -> Environment:
    """A fresh environment of a kind with the wheel in it, and a folder outside the clone."""
    lock = ROOT / LOCKS[request.param]
    if not lock.is_file():
        pytest.skip(f'{lock.name} is not in this clone')
    folder = tmp_path_factory.mktemp(request.param)
    path = new_environment(folder / 'environment')
    synced = call(
        *(uv(), 'pip', 'sync', '--quiet', '--python', path, '--require-hashes', lock), cwd=folder
    )
    assert synced.returncode == 0, synced.stderr
    before = packages(path)
    install_wheel(path, distributions[1])
    (folder / 'project').mkdir()
    return Environment(request.param, path, folder / 'project', before)
