import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .real_slurm import UnavailableError, started


@pytest.fixture(scope='session')
def _slurm() -> Iterator[dict[str, str]]:
    folder = Path(tempfile.mkdtemp(prefix='slurm'))
    try:
        with started(folder) as variables:
            yield variables
    except UnavailableError as error:
        pytest.skip(str(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def _watched_often(monkeypatch) -> None:
    monkeypatch.setattr('mmmuse.jobs.local.LocalJobs.poll_seconds', 0.1)


@pytest.fixture
def slurm(_slurm: dict[str, str], monkeypatch) -> None:
    """A running Slurm of one node with two processors; the test is skipped where there can be none."""
    for name, value in _slurm.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr('mmmuse.jobs.slurm.SlurmJobs.poll_seconds', 0.2)
    monkeypatch.setattr('mmmuse.jobs.slurm._SECONDS_TO_SEE', 1)
