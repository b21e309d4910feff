import pytest

from . import networks


@pytest.fixture(scope='session', autouse=True)
def _root(tmp_path_factory) -> None:
    networks.root = tmp_path_factory.mktemp('networks')
