import pytest

from mmmuse.errors import InputError
from mmmuse.heads.variants import VARIANTS, variant_head


def test_the_rows_of_tables_5_and_6_and_byot_are_there():
    rows = {
        'ce',
        'ce_kd',
        'l2',
        'l2_ce',
        'mi',
        'si',
        'mi_ce',
        'mi_ce_kd',
        'mi_plus_si_alone',
        'mi_x_si_alone',
        'mi_plus_si_ce',
        'mi_x_si_ce',
        'mi_x_si',
        'mi_plus_si',
        'byot',
    }
    rows |= {'mmd_ce', 'adversarial_ce', 'vid_ce'}
    assert set(VARIANTS) == rows


def test_a_head_can_be_changed_without_changing_the_variant():
    variant_head('mi_x_si')['discrepancy']['combine'] = 'mi'
    assert variant_head('mi_x_si')['discrepancy']['combine'] == 'multiplicative'


def test_an_unknown_variant_lists_those_there_are():
    with pytest.raises(InputError, match="'mi_si'; there are mi_x_si, mi_plus_si, byot"):
        variant_head('mi_si')
