"""Every architecture family of mmdet: proposal, one step, prediction, names of the student."""

import pytest
import torch
from mmengine.registry import DefaultScope

mmdet = pytest.importorskip('mmdet')

from mmdet.models import backbones, detectors  # noqa: E402

from mmmuse.errors import InputError  # noqa: E402

from .annotated import annotated  # noqa: E402
from .composition import (  # noqa: E402
    distilled,
    initialized,
    parameters_so_far,
    proposed,
    take_step,
    with_other_weights,
    without_weights,
)
from .detectors import (  # noqa: E402
    BASES,
    DETECTORS,
    NEW_PARAMETERS,
    NO_LOSS_CLS,
    NOT_COMPOSED,
    PROPOSAL_ONLY,
    REFUSED,
)
from .page import PAGE, not_composed_row, row, rows  # noqa: E402

pytestmark = pytest.mark.slow

HEADING = 'Detectors of mmdet'


def built(family):
    """Build a detector; skip the test where mmdet lacks a package that it does not install."""
    try:
        return family.build('mmdet')
    except RuntimeError as error:
        if 'is not installed' not in str(error):
            raise
        pytest.skip(' '.join(str(error).split()))


@pytest.fixture(autouse=True)
def _as_in_a_training(hub):  # TOOD's losses read the epoch, BoxInst's the iteration.
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture(scope='module', params=DETECTORS)
def case(request):
    family = DETECTORS[request.param]
    torch.manual_seed(0)
    if request.param in PROPOSAL_ONLY:  # The proposal brings weights of its own.
        with without_weights():
            model = built(family)
    else:
        model = initialized(built(family))
    return request.param, family, model, proposed(family, model)


def test_the_proposal_is_that_of_the_page(case):
    name, family, _, proposal = case
    assert rows(HEADING).get(name) == row(name, family, proposal)


def test_every_module_uses_parameters_of_its_own(case):
    _, _, _, proposal = case
    sizes = parameters_so_far(proposal)
    assert sizes == sorted(set(sizes))


def test_it_trains_a_step_and_predicts_and_keeps_the_names_of_the_student(case):
    name, family, model, proposal = case
    if name in PROPOSAL_ONLY:
        pytest.skip(f'as {PROPOSAL_ONLY[name]}')
    names = list(model.state_dict())
    distiller = distilled(family, model, proposal)
    assert list(model.state_dict()) == names
    images = torch.randn(2, *family.input_shape)
    log = take_step(distiller, images, annotated(family))
    assert log['loss'].isfinite()
    assert 'mi_loss_1' in log
    losses = {name for name in log if 'loss' in name and not name.startswith(('mi_', 'si_'))}
    assert losses > {'loss', 'loss_muse'}  # The others are the detector's own.
    distiller.eval()
    if family.note == NO_LOSS_CLS:
        model.bbox_head.loss_cls = None
    with torch.no_grad():
        predictions = distiller(images, annotated(family), mode='predict')
    assert len(predictions) == 2
    for sample in predictions:
        assert {'pred_instances', 'pred_panoptic_seg'} & set(sample.keys())
    later = list(model.state_dict())
    assert [name for name in later if name in names] == names
    assert (later != names) == (family.note == NEW_PARAMETERS)
    state = distiller.state_dict()
    assert [name[8:] for name in state if name.startswith('student.')] == later


def test_the_proposal_is_the_same_with_other_weights(case):
    # The last test of a case: it overwrites the weights.
    _, family, model, proposal = case
    assert proposed(family, with_other_weights(model.eval(), seed=1)) == proposal


def test_mmdet_alone_cannot_predict_with_an_ssd():
    family = DETECTORS['SSDLite']
    model = family.build('mmdet').eval()
    images = torch.randn(2, *family.input_shape)
    with torch.no_grad(), pytest.raises(AttributeError, match='loss_cls'):
        model(images, annotated(family), mode='predict')


def test_mmdet_alone_adds_parameters_to_a_ddq_in_its_first_step():
    family = DETECTORS['DDQ']
    model = initialized(family.build('mmdet'))
    names = set(model.state_dict())
    model(torch.randn(2, *family.input_shape), annotated(family), mode='loss')
    added = set(model.state_dict()) - names
    assert added
    assert all(name.startswith('decoder.aux_reg_branches.') for name in added)


@pytest.mark.parametrize('name', REFUSED)
def test_what_cannot_be_composed_is_refused_in_one_line(name):
    family, error = REFUSED[name]
    model = built(family)

    def compose():
        distiller = distilled(family, model, proposed(family, model))
        take_step(distiller, torch.randn(2, *family.input_shape), annotated(family))

    with pytest.raises(InputError) as caught:
        compose()
    assert str(caught.value) == error
    assert error in rows('Refused')[name]


def test_every_detector_and_backbone_of_mmdet_is_in_the_tables():
    families = (*DETECTORS.values(), *(family for family, _ in REFUSED.values()))
    networks = [family.network('mmdet') for family in families]
    parts = [*networks, *(network.backbone for network in networks if 'backbone' in network)]
    found = {part.type for part in parts}
    names = {*backbones.__all__, *detectors.__all__} - BASES
    left_out = {name for names_of_row in NOT_COMPOSED for name in names_of_row}
    assert names - found - left_out == set()
    table = set(rows('Not composed').values())
    assert {not_composed_row(*item) for item in NOT_COMPOSED.items()} <= table


def test_the_page_names_what_has_only_its_proposal_checked():
    listed = PAGE.read_text().split('with the same losses or features: ')[1].split('.\n')[0]
    expected = [f'{name} ({other})' for name, other in PROPOSAL_ONLY.items()]
    assert ' '.join(listed.split()) == ', '.join(expected)
    assert set(rows(HEADING)) == set(DETECTORS)
    assert set(PROPOSAL_ONLY.values()) <= set(DETECTORS) - set(PROPOSAL_ONLY)
