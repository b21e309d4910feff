"""A tapped output without gradient is refused, unless only frozen modules determine it."""

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner.activation_checkpointing import turn_on_activation_checkpointing
from torch import nn
from torch.utils.checkpoint import checkpoint

from mmmuse.distillers import SelfDistiller
from mmmuse.errors import InputError
from mmmuse.heads.variants import variant_head
from mmmuse.tapping import taps as taps_module
from mmmuse.tapping.taps import TappedNetwork

from ..conftest import (
    TWO_STAGE_TAPS,
    labelled,
    small_classifier_config,
    small_distiller,
    two_stage_config,
)
from ..test_distillers import transfer
from ..test_distillers.rivals import rival

INSIDE = dict(
    modules=['backbone.layer1.0.conv1', 'backbone.layer2.0'],
    last='backbone.layer4',
    logits='head',
)


def student(**backbone) -> dict:
    config = small_classifier_config()
    return {**config, 'backbone': {**config['backbone'], **backbone}}


def step(distiller) -> dict:
    torch.manual_seed(0)
    return distiller(torch.randn(4, 3, 16, 16), labelled([0, 0, 3, 3]), mode='loss')


def gradients(distiller) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    distiller.parse_losses(step(distiller))[0].backward()
    return {name: parameter.grad for name, parameter in distiller.named_parameters()}


def same_weights(**options) -> SelfDistiller:
    torch.manual_seed(0)
    return small_distiller('mi_x_si', **options).train()


def test_a_tap_inside_a_checkpointed_block_is_refused_with_its_name_and_a_remedy():
    distiller = small_distiller('ce', student=student(with_cp=True), taps=INSIDE).train()
    with pytest.raises(InputError) as error:
        step(distiller)
    message = str(error.value)
    assert "'backbone.layer1.0.conv1'" in message
    assert 'layer2' not in message  # The end of a checkpointed block.
    assert 'Tap the end of the checkpointed module, or switch checkpointing off there' in message
    assert '\n' not in message


def test_a_tap_inside_a_module_that_the_runner_checkpoints_is_refused():
    distiller = small_distiller('ce', student=student(depth=18), taps=INSIDE).train()
    turn_on_activation_checkpointing(distiller, ['student.backbone.layer2'])
    with pytest.raises(InputError, match=r"'backbone.layer2.0' gets no gradient"):
        step(distiller)


def test_a_checkpointed_module_without_gradient_at_its_input_is_refused():
    distiller = small_distiller('ce', taps={**INSIDE, 'modules': ['backbone.layer1']}).train()
    distiller.student.backbone.conv1.requires_grad_(False)
    distiller.student.backbone.bn1.requires_grad_(False)
    turn_on_activation_checkpointing(distiller, ['student.backbone.layer1'])
    with pytest.raises(InputError, match=r"'backbone.layer1' gets no gradient"):
        step(distiller)


def test_under_autocast_it_is_refused_too():
    distiller = small_distiller('ce', student=student(with_cp=True), taps=INSIDE).train()
    with torch.autocast('cpu', dtype=torch.bfloat16), pytest.raises(InputError, match='conv1'):
        step(distiller)


@pytest.mark.skipif(
    torch.__version__ < '2.5', reason='PyTorch before 2.5 compiles no hook in a checkpointed region'
)
@pytest.mark.parametrize('compiled', ['student', ''])
def test_compiled_it_is_refused_too(compiled):
    taps = {**TWO_STAGE_TAPS, 'modules': ['backbone.layer1.0.conv1']}
    distiller = small_distiller('ce', student=two_stage_config(with_cp=True), taps=taps).train()
    distiller.get_submodule(compiled).compile(backend='eager')
    with pytest.raises(InputError, match='conv1'):
        step(distiller)
    torch._dynamo.reset()


@pytest.mark.parametrize('modules', [['student.backbone.layer2'], ['student.backbone.layer1.0']])
def test_at_the_end_of_a_checkpointed_module_the_gradients_are_those_without(modules):
    taps = {**INSIDE, 'modules': ['backbone.layer1', 'backbone.layer2']}
    expected = gradients(same_weights(taps=taps))
    distiller = same_weights(taps=taps)
    turn_on_activation_checkpointing(distiller, modules)
    found = gradients(distiller)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=name)


def test_inside_a_region_without_reentrance_the_gradients_are_those_without():
    expected = gradients(same_weights(taps=INSIDE))
    distiller = same_weights(taps=INSIDE)
    for name in ('layer1', 'layer2'):
        module = distiller.student.backbone.get_submodule(name)
        forward = module.forward
        module.forward = lambda x, forward=forward: checkpoint(forward, x, use_reentrant=False)
    found = gradients(distiller)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=name)


def test_frozen_stages_are_allowed_and_the_exits_on_them_learn(monkeypatch):
    checks = []
    check = taps_module.refuse_cut_gradients
    monkeypatch.setattr(
        taps_module,
        'refuse_cut_gradients',
        lambda *args: checks.append(args) or check(*args),
    )
    distiller = small_distiller('ce', student=student(frozen_stages=2)).train()
    found = gradients(distiller)
    assert found['student.backbone.layer2.0.conv1.weight'] is None
    assert found['muse.exits.0.fc.weight'].abs().sum() > 0
    step(distiller)
    assert len(checks) == 1  # The second step does not look again.


def test_with_every_module_unfrozen_nothing_is_run_twice(monkeypatch):
    monkeypatch.setattr(taps_module, 'refuse_cut_gradients', None)
    step(small_distiller('ce').train())


def test_a_frozen_network_with_exits_to_train_is_allowed():
    distiller = small_distiller('ce').train()
    distiller.student.requires_grad_(False)
    assert gradients(distiller)['muse.exits.0.fc.weight'].abs().sum() > 0


def test_the_check_changes_no_weight_no_statistic_and_no_random_state():
    distiller = small_distiller('ce', student=student(frozen_stages=1)).train()
    images, samples = torch.randn(4, 3, 16, 16), labelled([0, 1, 2, 3])
    with distiller.tapped:
        distiller.student(images, samples, mode='loss')
        before = {name: value.clone() for name, value in distiller.state_dict().items()}
        modes = [module.training for module in distiller.modules()]
        random_state = torch.get_rng_state()
        distiller.tapped.collect()
    assert torch.equal(torch.get_rng_state(), random_state)
    assert [module.training for module in distiller.modules()] == modes
    for name, value in distiller.state_dict().items():
        assert torch.equal(value, before[name]), name


class TwoTowers(BaseModel):
    """A trained tower and, behind it in time but not in data, a frozen one."""

    def __init__(self, joined: bool) -> None:
        super().__init__()
        self.trained, self.frozen = nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(3, 4, 1)
        self.frozen.requires_grad_(False)
        self.joined = joined

    def forward(self, inputs, data_samples=None, mode='tensor'):
        first = self.trained(inputs)
        return first + self.frozen(first[:, :3].detach() if self.joined else inputs)


def test_a_trained_module_beside_a_frozen_tapped_one_does_not_matter():
    network = TwoTowers(joined=False)
    tapped = TappedNetwork(network, dict(last='frozen'))
    with tapped:
        network(torch.randn(2, 3, 8, 8))
        assert not tapped.collect().last.requires_grad


def test_a_trained_module_before_a_frozen_tapped_one_does():
    network = TwoTowers(joined=True)
    tapped = TappedNetwork(network, dict(last='frozen'))
    with tapped:
        network(torch.randn(2, 3, 8, 8))
        with pytest.raises(InputError, match="'frozen' gets no gradient"):
            tapped.collect()


def test_predictions_need_no_gradient():
    distiller = small_distiller('ce', student=student(with_cp=True), taps=INSIDE).eval()
    predictions = distiller(torch.randn(2, 3, 16, 16), labelled([0, 1]), mode='predict')
    assert predictions[0].exit_scores.shape == (2, 5)


def test_losses_that_are_only_measured_need_no_gradient():
    distiller = small_distiller('ce', student=student(with_cp=True), taps=INSIDE).train()
    with torch.no_grad():
        assert step(distiller)['exit1.loss_ce'].isfinite()


def test_in_offline_distillation_it_is_refused():
    distiller = transfer.offline(transfer.MUSE)
    turn_on_activation_checkpointing(distiller, ['student.backbone'])
    with pytest.raises(InputError, match=r"'backbone.layer1'.* gets no gradient"):
        distiller(*transfer.batch(), mode='loss')


@pytest.mark.parametrize('peer', ['student', 'peers.b'])
def test_in_online_distillation_it_is_refused_for_each_peer(peer):
    distiller = transfer.online(transfer.MUSE)
    turn_on_activation_checkpointing(distiller, [f'{peer}.backbone'])
    with pytest.raises(InputError, match=r"'backbone.layer1'.* gets no gradient"):
        distiller(*transfer.batch(), mode='loss')


@pytest.mark.parametrize('name', ['cs_kd', 'ddgsd', 'one', 'frskd'])
def test_a_rival_refuses_it_too(name):
    distiller = rival(name)
    turn_on_activation_checkpointing(distiller, ['student.backbone'])
    images = torch.randn(4, 3, 16, 16)
    samples = labelled([0, 3, 0, 3] if name == 'ddgsd' else [0, 0, 3, 3])
    with pytest.raises(InputError, match='gets no gradient'):
        distiller(images, samples, mode='loss')


def test_a_head_without_exits_is_checked_as_well():
    distiller = SelfDistiller(
        student(with_cp=True), INSIDE, head=variant_head('mi_x_si_alone')
    ).train()
    with pytest.raises(InputError, match='conv1'):
        step(distiller)
