"""Commands of the pages are run in this process, which has imported the libraries already."""

import functools

import pytest
from mmengine.config import utils

from ..test_tools.conftest import _unformatted_configs

__all__ = ['_unformatted_configs']


@pytest.fixture(scope='package', autouse=True)
def _indices_of_packages_read_once():
    """Keep what MMEngine reads of a package for a base ``mmpretrain::...``: 85 files each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, 'load', functools.cache(utils.load))
        yield
