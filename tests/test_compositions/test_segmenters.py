"""Every architecture family of mmseg: proposal, one step, prediction, names of the student."""

from copy import deepcopy

import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData

pytest.importorskip('mmseg')

from mmseg.models import backbones, decode_heads, segmentors
from mmseg.structures import SegDataSample
from torch import nn

from mmmuse.distillers import SelfDistiller
from mmmuse.errors import InputError
from mmmuse.heads.variants import variant_head
from mmmuse.segmentation import SegmentationSelfDistiller
from mmmuse.tapping.proposal import TapProposal

from ..conftest import as_trained
from .composition import (
    TINY_MUSE,
    distilled,
    initialized,
    parameters_so_far,
    proposed,
    take_step,
    with_other_weights,
)
from .left_out_segmenters import BASES, NOT_COMPOSED, REFUSED
from .page import not_composed_row, row, rows
from .segmenters import SEGMENTERS, Segmenter

pytestmark = pytest.mark.slow

HEADING = 'Segmenters of mmseg'


def annotated(family: Segmenter) -> list[SegDataSample]:
    """Two images with masks of two classes, and the edges of these."""
    samples = []
    size = family.input_shape[1:]
    for _ in range(2):
        sample = SegDataSample(metainfo=dict(ori_shape=size, img_shape=size, pad_shape=size))
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 2, (1, *size)))
        sample.gt_edge_map = PixelData(data=torch.randint(0, 2, (1, *size)))
        samples.append(sample)
    return samples


def with_exits(family: Segmenter, model: nn.Module, proposal: TapProposal) -> SelfDistiller:
    """Distil as ``mmmuse wrap`` writes it: with an FCN head behind each module, if there are logits."""
    if proposal.logits is None:
        return distilled(family, model, proposal)
    head = variant_head('mi_x_si_alone')
    head['discrepancy']['critic'].update(deepcopy(TINY_MUSE)['discrepancy']['critic'])
    taps = dict(modules=list(proposal.modules), last=proposal.last, logits=proposal.logits)
    exit = dict(decode_head=dict(type='FCNHead', channels=32))
    return as_trained(
        SegmentationSelfDistiller(model, taps, exit, head=head, input_shape=family.input_shape)
    )


@pytest.fixture(autouse=True)
def _of_mmseg():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


@pytest.fixture(scope='module', params=SEGMENTERS)
def case(request):
    family = SEGMENTERS[request.param]
    if request.param == 'TIMMBackbone':
        pytest.importorskip('timm')
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = initialized(family.build('mmseg'))
        yield request.param, family, model, proposed(family, model)


def test_the_proposal_is_that_of_the_page(case):
    name, family, _, proposal = case
    assert rows(HEADING).get(name) == row(name, family, proposal)


def test_every_module_uses_parameters_of_its_own(case):
    _, _, _, proposal = case
    sizes = parameters_so_far(proposal)
    assert sizes == sorted(set(sizes))


def test_it_trains_a_step_and_predicts_and_keeps_the_names_of_the_student(case):
    _, family, model, proposal = case
    names = list(model.state_dict())
    distiller = with_exits(family, model, proposal).train()
    assert list(model.state_dict()) == names
    images = torch.randn(2, *family.input_shape)
    log = take_step(distiller, images, annotated(family))
    assert log['loss'].isfinite()
    exits = range(1, 1 + len(proposal.modules)) if proposal.logits else ()
    expected = {f'exit{i}.{term}' for i in exits for term in ('loss_ce', 'loss_kd')}
    assert expected <= set(log)
    assert any(term.startswith('decode') for term in log)
    distiller.eval()
    with torch.no_grad():
        predictions = distiller(images, annotated(family), mode='predict')
    for sample in predictions:
        for field in ('pred_sem_seg', *(f'exit{i}_sem_seg' for i in exits)):
            assert sample.get(field).data.shape == (1, *family.input_shape[1:])
    assert list(model.state_dict()) == names
    state = distiller.state_dict()
    assert [name[8:] for name in state if name.startswith('student.')] == names


def test_the_proposal_is_the_same_with_other_weights(case):
    # The last test of a case: it overwrites the weights.
    _, family, model, proposal = case
    assert proposed(family, with_other_weights(model.eval(), seed=1)) == proposal


@pytest.mark.parametrize('name', REFUSED)
def test_what_cannot_be_composed_is_refused_in_one_line(name):
    family, error = REFUSED[name]
    with pytest.raises(InputError) as caught:
        proposed(family, family.build('mmseg'))
    assert str(caught.value) == error
    assert error in rows('Refused')[name]


def types_in(config: object) -> set[str]:
    """Every ``type`` in a config."""
    parts = list(config.values()) if isinstance(config, dict) else config
    found = {config['type']} if isinstance(config, dict) and 'type' in config else set()
    return found.union(*(types_in(part) for part in parts if isinstance(part, (dict, list, tuple))))


def test_every_segmenter_backbone_and_decode_head_of_mmseg_is_in_the_tables():
    families = (*SEGMENTERS.values(), *(family for family, _ in REFUSED.values()))
    found = set().union(*(types_in(each.network('mmseg')._cfg_dict) for each in families))
    names = {*backbones.__all__, *decode_heads.__all__, *segmentors.__all__} - BASES
    left_out = {name for names_of_row in NOT_COMPOSED for name in names_of_row}
    assert names - found - left_out == set()
    table = set(rows('Not composed').values())
    assert {not_composed_row(*item) for item in NOT_COMPOSED.items()} <= table
    assert set(rows(HEADING)) == set(SEGMENTERS)
