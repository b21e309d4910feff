"""A missing library is installed of the same kind as those that are there."""

import pytest

from .fake_site import FORKS, ORIGINALS, ROOT, install, python

pytestmark = pytest.mark.slow

PROGRAM = """
from mmmuse.environment.requirements import check_library
from mmmuse.errors import InputError
try:
    check_library('mmseg')
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ('there', 'command'),
    [
        (ORIGINALS, 'pip install "mmsegmentation==1.2.2" "ftfy" "regex"'),
        (FORKS, f'pip install -e "{ROOT}[segmentation]"'),
        ({}, f'pip install -e "{ROOT}[segmentation]"'),
    ],
    ids=['originals', 'forks', 'nothing'],
)
def test_mmseg_is_installed_of_the_same_kind(there, command, tmp_path):
    finished = python(install(tmp_path / 'site', there), tmp_path, PROGRAM)
    assert finished.stdout == (
        "the config is for mmseg (default_scope = 'mmseg'), which is not installed: "
        + command
        + '\n'
    ), finished.stderr
