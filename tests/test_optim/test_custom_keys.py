"""Names in ``paramwise_cfg.custom_keys`` mean the student's parts, or all of MUSE's critics."""

import pytest
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmmuse.checkpoints.state_dicts import with_current_names
from mmmuse.registry import MODELS

from ..conftest import ROOT, small_distiller
from ..test_distillers.transfer import MUSE, TAPS, network, online

CRITICS = {'mi_critics', 'si_critics'}


def with_another_rate(model: nn.Module, key: str, lr_mult: float) -> set[str]:
    """Return the parameters whose learning rate a custom key multiplies; check that rate."""
    config = dict(
        optimizer=dict(type='SGD', lr=1.0),
        paramwise_cfg=dict(custom_keys={key: dict(lr_mult=lr_mult)}),
    )
    groups = build_optim_wrapper(model, config).optimizer.param_groups
    rates = {id(parameter): group['lr'] for group in groups for parameter in group['params']}
    named = {name: rates[id(parameter)] for name, parameter in model.named_parameters()}
    assert set(named.values()) <= {1.0, lr_mult}
    return {name for name, rate in named.items() if rate == lr_mult}


def student_with_a_neck() -> nn.Module:
    """A self-distiller of a network whose own neck has parameters."""
    student = network()
    student['neck'] = dict(type='LinearNeck', in_channels=16, out_channels=16, gap_dim=2)
    return MODELS.build(
        dict(
            type='mmmuse.SelfDistiller',
            student=student,
            taps=TAPS,
            head=dict(type='mmmuse.MUSEHead', discrepancy=MUSE),
            neck=dict(type='mmmuse.SelfDistillNeck'),
        )
    )


def distiller(kind: str) -> nn.Module:
    if kind == 'self':
        return small_distiller()
    if kind == 'online':
        return online(MUSE)
    config = dict(student=network(), teacher=MODELS.build(network(6)), taps=TAPS, losses=[MUSE])
    return MODELS.build(dict(type='mmmuse.OfflineDistiller', **config))


def test_head_is_the_students_head_alone():
    found = with_another_rate(small_distiller(), 'head', 10.0)
    assert found == {'student.head.fc.weight', 'student.head.fc.bias'}


def test_neck_is_the_students_neck_alone():
    found = with_another_rate(student_with_a_neck(), 'neck', 10.0)
    assert {name.rpartition('.')[0] for name in found} == {'student.neck.fc', 'student.neck.norm'}
    assert with_another_rate(small_distiller(), 'neck', 10.0) == set()


@pytest.mark.slow
@pytest.mark.parametrize('key', ['head', 'neck'])
def test_a_detectors_exits_have_neither_head_nor_neck_in_their_names(key):
    config = Config.fromfile(ROOT / 'configs/detection/yolov5_n_bccd_mi_x_si.py')
    model = MODELS.build({**config.model, 'student': {**config.model.student, '_scope_': 'mmdet'}})
    found = with_another_rate(model, key, 10.0)
    assert found
    assert all(
        name.startswith(f'student.{"bbox_head" if key == "head" else "neck"}.') for name in found
    )


@pytest.mark.parametrize('kind', ['self', 'offline', 'online'])
def test_critics_are_all_of_muses_critics_and_nothing_else(kind):
    model = distiller(kind)
    expected = {
        f'{path}.{name}'
        for path, module in model.named_modules()
        if type(module).__name__ == 'GlobalLocalCritic'
        for name, _ in module.named_parameters()
    }
    found = with_another_rate(model, 'critics', 0.1)
    assert found == expected
    parts = {part for name in found for part in name.split('.')}
    assert parts >= CRITICS
    assert len({name for name in found if name.endswith('.weight')}) >= 6 * 3  # Three layers each.


def test_weights_saved_under_the_names_of_earlier_versions_load():
    model = small_distiller()
    weights = model.state_dict()
    earlier = {
        name.replace('adapters.branches.', 'neck.bottlenecks.').replace('muse.', 'head.'): value
        for name, value in weights.items()
    }
    assert not earlier.keys() & {name for name in weights if not name.startswith('student.')}
    copied = small_distiller()
    copied.load_state_dict(earlier)
    for name, value in copied.state_dict().items():
        assert value.equal(weights[name]), name


def test_earlier_names_of_a_detectors_exits_are_replaced():
    earlier = {
        'exits.0.neck.bottlenecks.1.bottlenecks.0.0.conv.weight': 1,
        'exits.0.neck.neck.convs.0.weight': 2,
        'exits.1.bbox_head.convs.0.bias': 3,
    }
    assert with_current_names(earlier) == {
        'exits.0.adapter.branches.1.branches.0.0.conv.weight': 1,
        'exits.0.adapter.fusion.convs.0.weight': 2,
        'exits.1.predictor.convs.0.bias': 3,
    }
