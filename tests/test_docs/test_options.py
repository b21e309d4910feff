"""The table of options gives the defaults of the classes."""

import ast
import inspect
import re

from mmmuse.critics import GlobalLocalCritic
from mmmuse.datasets import BatchedDataPreprocessor
from mmmuse.distillers import FeatureDistiller
from mmmuse.heads import MUSEHead
from mmmuse.losses import MapAlignmentLoss, MUSELoss

from .blocks import DOCS

# A row with a literal as default, or with as many as keys.
_ROW = re.compile(r'^\| (`[^|]+`) \| (`[^|]+`) \|', flags=re.MULTILINE)
OF_PART = {
    'head.discrepancy.critic': GlobalLocalCritic,
    'head.discrepancy': MUSELoss,
    'head': MUSEHead,
    'losses.0': MapAlignmentLoss,
    'data_preprocessor': BatchedDataPreprocessor,
    '': FeatureDistiller,
}
SAID = {
    'head': 'MUSEHead',
    'head.discrepancy': 'MUSELoss',
    'head.discrepancy.estimator.type': 'JensenShannon',
}


def rows() -> dict[str, str]:
    """Return the default of each option in the table."""
    text = (DOCS / 'options.md').read_text().partition('## What a run logs')[0]
    return {
        key.strip('` '): default.strip('` ')
        for keys, defaults in _ROW.findall(text)
        for key, default in zip(keys.split(','), defaults.split(','), strict=True)
    }


def test_a_documented_default_is_that_of_the_class():
    compared = 0
    for key, default in rows().items():
        if key in SAID:
            assert default == f'mmmuse.{SAID[key]}'
            continue
        part, _, name = key.rpartition('.')
        actual = inspect.signature(OF_PART[part].__init__).parameters[name].default
        assert actual == ast.literal_eval(default), key
        compared += 1
    assert compared >= 12
