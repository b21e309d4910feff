"""The command that installs an extra of this copy, and what an installation brings."""

import json
import re

import pytest

from mmmuse.environment import install
from mmmuse.environment.install import install_command

from .fake_site import ROOT

try:
    import tomllib
except ImportError:  # Python 3.10
    tomllib = None


class Distribution:
    """Stands for the metadata of an installed mmmuse."""

    def __init__(self, url: str | None) -> None:
        self.url = url

    def read_text(self, name: str) -> str | None:
        assert name == 'direct_url.json'
        return None if self.url is None else json.dumps(dict(url=self.url))


@pytest.fixture
def wheel(monkeypatch, tmp_path):
    """A function that makes the package one that was installed from a URL."""

    def installed_from(url: str | None) -> None:
        monkeypatch.setattr(install, '_CLONE', tmp_path / 'site-packages')
        monkeypatch.setattr('importlib.metadata.distribution', lambda name: Distribution(url))
        monkeypatch.setattr(
            'importlib.metadata.requires',
            lambda name: ['torch>=2.1', 'onnx; extra == "export"', "b>=2,<3; extra == 'stack'"],
        )

    return installed_from


def test_a_clone_is_installed_as_a_clone():
    assert install_command('export') == f'pip install -e "{ROOT}[export]"'


def test_a_wheel_is_installed_from_where_it_came(wheel, tmp_path):
    file = tmp_path / 'mmmuse-0.1.0-py3-none-any.whl'
    file.touch()
    wheel(file.as_uri())
    assert install_command('stack') == f'pip install "mmmuse[stack] @ {file.as_uri()}"'


@pytest.mark.parametrize('gone', [None, 'file:///nowhere/mmmuse-0.1.0-py3-none-any.whl'])
def test_a_wheel_that_is_gone_is_replaced_by_its_requirements(wheel, gone):
    wheel(gone)
    assert install_command('stack') == 'pip install "b>=2,<3"'
    assert install_command('export') == 'pip install "onnx"'


@pytest.mark.skipif(tomllib is None, reason='tomllib is in Python 3.11')
def test_no_dependency_replaces_a_package_of_an_openmmlab_environment():
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    names = {re.match(r'[\w-]+', requirement)[0] for requirement in project['dependencies']}
    assert names == {'torch', 'numpy', 'matplotlib', 'rich', 'typing-extensions'}
    assert [each for each in project['dependencies'] if not each.isidentifier()] == [
        'torch>=2.1',
        'typing-extensions',
    ]
    assert project['optional-dependencies'].keys() == {
        *('stack', 'segmentation', 'timm', 'transformers', 'export', 'completion', 'cluster')
    }
