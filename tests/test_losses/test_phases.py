import pytest
import torch
from mmengine.logging import MessageHub

from mmmuse.errors import InputError
from mmmuse.losses import Span, build_edge, losses_of_phases
from mmmuse.tapping.features import DistillFeatures, FeatureSpec, NetworkSpecs, Step

from ..conftest import labelled

KD, DKD = dict(type='mmmuse.KDLoss'), dict(type='mmmuse.DKDLoss')


@pytest.fixture
def hub():
    hub = MessageHub.get_instance('phases')
    yield hub
    hub.runtime_info.clear()


def at(hub: MessageHub, **place: int) -> None:
    for name, value in {'max_epochs': 4, 'max_iters': 40, **place}.items():
        hub.update_info(name, value)


def test_phases_follow_one_another():
    losses, without_task = losses_of_phases(
        [dict(epochs=60, losses=[DKD], task_loss=False), dict(epochs=10), dict(losses=[KD, DKD])]
    )
    assert losses == [
        {**DKD, 'epochs': (0, 60)},
        {**KD, 'epochs': (70, None)},
        {**DKD, 'epochs': (70, None)},
    ]
    assert without_task == [Span('epochs', 0, 60)]
    losses, _ = losses_of_phases([dict(iters=5, losses=[KD]), dict(iters=3, losses=[DKD])])
    assert losses == [{**KD, 'iters': (0, 5)}, {**DKD, 'iters': (5, 8)}]


@pytest.mark.parametrize(
    ('phases', 'said'),
    [
        ([dict(losses=[KD]), dict(losses=[KD])], 'phase 1 needs its length, such as epochs=60'),
        ([dict(epochs=0, losses=[KD])], 'phase 1: epochs must be an integer of at least 1, got 0'),
        ([dict(epochs=2.5, losses=[KD])], 'at least 1, got 2.5'),
        ([dict(epochs=True, losses=[KD])], 'at least 1, got True'),
        (
            [dict(epochs=1, losses=[KD]), dict(iters=3, losses=[KD])],
            'in epochs or in iters, not in both',
        ),
        (
            [dict(epoch=1, losses=[KD])],
            "phase 1 is dict(epochs=..., losses=[...], task_loss=True), got {'epoch'",
        ),
        (
            [KD['type']],
            "phase 1 is dict(epochs=..., losses=[...], task_loss=True), got 'mmmuse.KDLoss'",
        ),
        (
            [dict(epochs=1, losses=['KD'])],
            "phase 1: a loss is a config, dict(type='...'), got 'KD'",
        ),
        ([dict(losses=[{**KD, 'epochs': (0, 1)}])], 'phase 1: its losses last as long as it does'),
        (
            [dict(epochs=1, task_loss=False), dict(losses=[KD])],
            'phase 1 has no losses, and task_loss=False',
        ),
        ([dict(epochs=1, losses=[KD], task_loss=0)], 'phase 1: task_loss is True or False, got 0'),
    ],
)
def test_what_is_no_phase_is_refused(phases, said):
    with pytest.raises(InputError) as error:
        losses_of_phases(phases)
    assert said in str(error.value)


def edge(*losses: dict):
    specs = [NetworkSpecs(logits=FeatureSpec(3)) for _ in range(2)]
    return build_edge(losses, *specs)


@pytest.mark.parametrize(
    'span', [(1,), (2, 1), (1, 1), (-1, 3), 5, ('0', 3), (0, 2.0), (None, 3), (False, 2)]
)
def test_what_is_no_span_is_refused(span):
    with pytest.raises(
        InputError, match=r'KDLoss\.epochs must be \(begin, end\), from 0, end not included'
    ):
        edge({**KD, 'epochs': span})


def test_epochs_and_iters_exclude_each_other():
    with pytest.raises(InputError, match='KDLoss has epochs or iters, not both'):
        edge({**KD, 'epochs': (0, 1), 'iters': (0, 1)})


def named(losses, hub, **place: int) -> set[str]:
    at(hub, **place)
    step = Step(*[DistillFeatures(logits=torch.randn(2, 3)) for _ in range(2)], labelled([0, 1]))
    return set(losses(step))


def test_a_loss_counts_in_its_span(hub, monkeypatch):
    monkeypatch.setattr(MessageHub, 'get_current_instance', lambda: hub)
    losses = edge({**KD, 'epochs': (1, 3)}, {**DKD, 'iters': [30, None]})
    assert named(losses, hub, epoch=0, iter=0) == set()
    assert named(losses, hub, epoch=1, iter=10) == {'loss_kd'}
    assert named(losses, hub, epoch=2, iter=29) == {'loss_kd'}
    assert named(losses, hub, epoch=3, iter=30) == {'loss_dkd'}
    assert named(losses, hub, epoch=3, iter=39) == {'loss_dkd'}


def test_spans_need_a_runner_that_counts_them(hub, monkeypatch):
    monkeypatch.setattr(MessageHub, 'get_current_instance', lambda: hub)
    with pytest.raises(InputError, match="KDLoss counts iterations: train with MMEngine's runner"):
        edge({**KD, 'iters': (0, 1)})[0].counts_now()
    at(hub, max_epochs=1)  # As of an iteration-based loop.
    with pytest.raises(InputError, match='KDLoss counts epochs and needs at least two'):
        edge({**KD, 'epochs': (0, 1)})[0].counts_now()
