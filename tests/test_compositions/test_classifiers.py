"""Every architecture family of mmpretrain: proposal, one step, prediction, names of the student."""

from pathlib import Path

import mmpretrain
import pytest
import torch
from mmengine.config import Config
from mmpretrain.models import backbones

from mmmuse.errors import InputError
from tests.conftest import labelled

from .classifiers import CLASSIFIERS, NOT_COMPOSED, REFUSED
from .composition import distilled, parameters_so_far, proposed, take_step, with_other_weights
from .page import not_composed_row, row, rows

pytestmark = pytest.mark.slow

HEADING = 'Classifiers of mmpretrain'
CONFIGS = Path(mmpretrain.__file__).parent / '.mim' / 'configs'


@pytest.fixture(scope='module', params=CLASSIFIERS)
def case(request):
    family = CLASSIFIERS[request.param]
    if request.param == 'TIMMBackbone':
        pytest.importorskip('timm')
    torch.manual_seed(0)
    model = family.build('mmpretrain')
    return request.param, family, model, proposed(family, model)


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
    distiller = distilled(family, model, proposal)
    images, samples = torch.randn(2, *family.input_shape), labelled([[0], [1]])
    log = take_step(distiller, images, samples)
    assert ('exit1.loss_ce' in log) == (proposal.logits is not None)
    assert 'mi_loss_1' in log
    if hasattr(model, 'prototype'):  # Of a retriever: what it compares with.
        model.prototype = torch.eye(4, 512)
    distiller.eval()
    with torch.no_grad():
        predictions = distiller(images, mode='predict')
    assert len(predictions) == 2
    for sample in predictions:
        assert sample.pred_score.isfinite().all()
        if proposal.logits:
            classes = len(sample.pred_score)
            assert sample.exit_scores.shape == (family.num_modules - 1, classes)
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
    model = family.build('mmpretrain')

    def compose():
        distiller = distilled(family, model, proposed(family, model))
        take_step(distiller, torch.randn(2, *family.input_shape), labelled([[0], [1]]))

    with pytest.raises(InputError) as caught:
        compose()
    assert str(caught.value) == error
    assert error in rows('Refused')[name]


def test_every_backbone_of_mmpretrain_is_in_the_tables():
    def types(part):
        if isinstance(part, dict):
            yield part.get('type')
            yield from (kind for value in part.values() for kind in types(value))
        elif isinstance(part, (list, tuple)):
            yield from (kind for value in part for kind in types(value))

    found = {name for names in NOT_COMPOSED for name in names}
    for family in (*CLASSIFIERS.values(), *(family for family, _ in REFUSED.values())):
        config = family.config
        if isinstance(config, str):
            config = Config.fromfile(CONFIGS / f'{config}.py').model
        found |= set(types(config))
    assert set(backbones.__all__) - found == set()
    table = set(rows('Not composed').values())
    assert {not_composed_row(*item) for item in NOT_COMPOSED.items()} <= table


def test_every_folder_of_configs_is_in_the_tables():
    folders = {path.name for path in CONFIGS.iterdir() if path.is_dir()} - {'_base_'}
    families = (*CLASSIFIERS.values(), *(family for family, _ in REFUSED.values()))
    used = {f.config.split('/')[0] for f in families if isinstance(f.config, str)}
    listed = {line.split('|')[2].strip() for line in rows('Not composed').values()}
    named = {folder for cell in listed for folder in cell.split(', ')}
    assert folders - used - named == set()
