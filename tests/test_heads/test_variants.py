import pytest
import torch

from mmmuse.errors import InputError
from mmmuse.heads.variants import VARIANTS, variant_head, variant_parts

from ..conftest import labelled, small_distiller


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
    with pytest.raises(InputError, match="'mi_si'; available: mi_x_si, mi_plus_si, byot"):
        variant_head('mi_si')


def test_the_neck_is_that_of_the_variants_which_read_the_maps_of_exits():
    without = {name for name in VARIANTS if variant_parts(name)[1] is None}
    assert without == {'mi', 'si', 'mi_plus_si_alone', 'mi_x_si_alone'}
    own = dict(type='mmmuse.SelfDistillNeck', reduction=2)
    assert variant_parts('ce', own)[1] == own
    assert variant_parts('mi', own)[1] is None


@pytest.mark.parametrize('variant', VARIANTS)
def test_a_head_given_by_its_name_is_the_one_of_the_variant(variant):
    images, samples = torch.randn(4, 3, 16, 16), labelled([0, 1, 2, 3])
    losses = []
    for parts in (dict(head=variant, neck=None), dict(head=variant_head(variant))):
        torch.manual_seed(0)
        distiller = small_distiller(**parts)
        torch.manual_seed(0)  # A neck that nothing reads has been built, and drew numbers.
        losses.append(distiller(images, samples, mode='loss'))
    assert losses[0] == losses[1]


def test_an_unknown_name_of_a_head_lists_the_variants():
    with pytest.raises(
        InputError, match=r"^unknown variant 'mi_si'; available: mi_x_si, mi_plus_si"
    ):
        small_distiller(head='mi_si')
