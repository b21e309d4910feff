"""What every loss keeps, for each that is in the registry: a new one is tested by being registered."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from mmpretrain.structures import DataSample

from mmmuse.losses import DistillLoss, build_loss
from mmmuse.registry import MODELS
from mmmuse.tapping.features import DistillFeatures, FeatureSpec, NetworkSpecs, Step

from .heads import head_pass, head_spec, leaves

NUM_IMAGES, NUM_CLASSES = 6, 5
# Half precision takes long on a CPU.
NARROWER = {'MUSELoss': dict(critic=dict(hidden_channels=32))}
CHANNELS = {'learner': (3, 4, 8), 'source': (5, 6, 7)}


def registered_losses() -> list[type[DistillLoss]]:
    MODELS.import_from_location()
    return sorted(
        {
            kind
            for kind in MODELS.module_dict.values()
            if isinstance(kind, type) and issubclass(kind, DistillLoss)
        },
        key=lambda kind: kind.__name__,
    )


def specs(side: str) -> NetworkSpecs:
    *shallow, last = (FeatureSpec(c, (8, 8)) for c in CHANNELS[side])
    head = head_spec(CHANNELS[side][0])
    return NetworkSpecs(tuple(shallow), last, FeatureSpec(NUM_CLASSES), ensemble=True, head=head)


def features(side: str, dtype: torch.dtype) -> DistillFeatures:
    generator = torch.Generator().manual_seed(len(side))

    def leaf(*shape: int) -> torch.Tensor:
        return torch.randn(NUM_IMAGES, *shape, generator=generator).to(dtype).requires_grad_()

    *shallow, last = CHANNELS[side]
    return DistillFeatures(
        tuple(leaf(c, 8, 8) for c in shallow),
        leaf(last, 8, 8),
        leaf(NUM_CLASSES),
        exits=tuple(leaf(last, 2, 2) for _ in shallow),
        head=head_pass(shallow[0], side == 'source', dtype),
    )


def read(features: DistillFeatures) -> list[torch.Tensor]:
    """The tensors of a network that losses read."""
    return [*features.modules, features.logits, *features.exits, *leaves(features.head)]


def built(kind: type[DistillLoss], within: bool, dtype: torch.dtype) -> tuple[DistillLoss, Step]:
    torch.manual_seed(0)
    learner = specs('learner')
    source = learner if within else specs('source')
    config = dict(type=kind, **NARROWER.get(kind.__name__, {}))
    loss = build_loss(config, learner, source).to(dtype)
    loss.loss_weight = 1.0  # Small default weights would hide errors below a tolerance.
    if loss.needs_labels:
        loss.prepare(torch.arange(NUM_IMAGES) % NUM_CLASSES)
    own = features('learner', dtype)
    samples = [
        DataSample(metainfo=dict(sample_idx=i)).set_gt_label(i % NUM_CLASSES)
        for i in range(NUM_IMAGES)
    ]
    for sample in samples:
        sample.gt_instances = DataSample()
    ensemble = torch.randn(NUM_IMAGES, NUM_CLASSES).to(dtype)
    return loss, Step(own, own if within else features('source', dtype), samples, ensemble)


def value(loss: DistillLoss, step: Step) -> torch.Tensor:
    torch.manual_seed(1)  # The same draws (locations, negatives) each time.
    return sum(v for name, v in loss(step).items() if v.requires_grad)


CASES = [
    pytest.param(kind, within, id=f'{kind.__name__}-{"within" if within else "between"}')
    for kind in registered_losses()
    for within in (True, False)
    if not (kind.needs_two_networks if within else 'exits' in kind.reads)
]


@pytest.mark.parametrize(('kind', 'within'), CASES)
def test_its_terms_are_named_finite_scalars(kind, within):
    loss, step = built(kind, within, torch.float32)
    terms = loss(step)
    assert any(name.startswith('loss_') for name in terms)
    for name, term in terms.items():
        assert term.shape == (), name
        assert term.isfinite(), name


@pytest.mark.parametrize(('kind', 'within'), CASES)
def test_the_learner_and_every_parameter_get_a_finite_gradient(kind, within):
    loss, step = built(kind, within, torch.float32)
    value(loss, step).backward()
    reached = [x.grad for x in read(step.learner)]
    assert any(grad is not None and grad.abs().sum() > 0 for grad in reached)
    for name, parameter in loss.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize(('kind', 'within'), CASES)
def test_its_value_under_bfloat16_autocast_is_float32_and_near(kind, within):
    loss, step = built(kind, within, torch.float32)
    exact = value(copy.deepcopy(loss), step)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = value(copy.deepcopy(loss), step)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, exact, rtol=0.05, atol=1e-3)


def in_float64(kind: type[DistillLoss], within: bool, loss: DistillLoss, step: Step) -> float:
    """The value of a loss of any type, computed in float64 from the same weights and features."""
    reference, step64 = built(kind, within, torch.float64)
    reference.load_state_dict(loss.state_dict())
    for side, side64 in ((step.learner, step64.learner), (step.source, step64.source)):
        side64.head.module.load_state_dict(side.head.module.state_dict())
        own, others = ([*read(x), *x.head.maps] for x in (side, side64))
        for value_, value64 in zip(own, others, strict=True):
            value64.data = value_.data.double()
        side64.last_vector = side64.last.mean((2, 3))
    ensemble = step.ensemble_logits.double()
    return value(reference, replace(step64, ensemble_logits=ensemble)).item()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(('kind', 'within'), CASES)
def test_in_a_model_of_half_precision_it_is_float32_and_agrees_with_float64(kind, within, dtype):
    loss, step = built(kind, within, dtype)
    expected = in_float64(kind, within, copy.deepcopy(loss), step)
    found = value(loss, step)
    assert found.dtype == torch.float32
    # The features and layers are rounded to 8 bits; what is summed over them is not.
    assert found.item() == pytest.approx(expected, rel=5e-4)
    found.backward()
    for name, parameter in loss.named_parameters():
        assert parameter.grad.dtype == dtype, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize(('kind', 'within'), CASES)
def test_float32_agrees_with_float64(kind, within):
    single, step = built(kind, within, torch.float32)
    double, step64 = built(kind, within, torch.float64)
    double.load_state_dict(single.state_dict())
    double.to(torch.float64)
    torch.testing.assert_close(
        value(single, step).double(), value(double, step64).double(), rtol=1e-4, atol=1e-8
    )


@pytest.mark.parametrize(('kind', 'within'), CASES)
def test_the_features_gradient_has_the_loss_weight_and_the_task_scale(kind, within):
    loss, step = built(kind, within, torch.float64)
    loss.warmup = 0.0
    inputs = read(step.learner)

    def gradients(loss: DistillLoss, step: Step) -> list[torch.Tensor | None]:
        return torch.autograd.grad(value(copy.deepcopy(loss), step), inputs, allow_unused=True)

    plain = gradients(loss, step)
    loss.loss_weight *= 0.5
    scaled = gradients(
        loss,
        Step(step.learner, step.source, step.data_samples, step.ensemble_logits, task_scale=6.0),
    )
    for one, other in zip(plain, scaled):
        if one is not None:
            torch.testing.assert_close(other, 3.0 * one)


def slow_kd(loss: DistillLoss, step: Step) -> float:
    total = 0.0
    for own, other in zip(step.learner.logits.tolist(), step.source.logits.tolist()):
        p, q = ([math.exp(x / loss.temperature) for x in row] for row in (other, own))
        total += sum(a / sum(p) * math.log(a / sum(p) / (b / sum(q))) for a, b in zip(p, q))
    return loss.loss_weight * loss.temperature**2 * total / NUM_IMAGES


def slow_l2(loss: DistillLoss, step: Step) -> float:
    last = step.source.last.mean((2, 3)).tolist()
    total = 0.0
    for exit_map in step.learner.exits:
        for own, other in zip(exit_map.mean((2, 3)).tolist(), last):
            total += sum((a - b) ** 2 for a, b in zip(own, other) if a > 0 or b > 0)
    return loss.loss_weight * total


def slow_attention(loss: DistillLoss, step: Step) -> float:
    def attention(feature: torch.Tensor) -> list[list[float]]:
        squares = feature.square().mean(1).flatten(1)
        return (squares / squares.norm(dim=1, keepdim=True)).tolist()

    total = 0.0
    for own, other in loss.pairs(step):
        pairs = list(zip(attention(own), attention(other)))
        squares = [(a - b) ** 2 for one, two in pairs for a, b in zip(one, two)]
        total += sum(squares) / len(squares)
    return loss.loss_weight * total


def slow_dense(loss: DistillLoss, step: Step, distance: Callable) -> float:
    """The sum over the modules of a distance, with the loss's 1x1 convolutions as matrices."""
    total = 0.0
    for number, (own, other) in zip(loss.modules, loss.pairs(step)):
        layer = loss.projections[str(number)]
        projected = torch.einsum('nchw,oc->nohw', own, layer.weight[:, :, 0, 0])
        total += distance(projected + layer.bias[:, None, None], other)
    return loss.loss_weight * total


def slow_cwd(loss: DistillLoss, step: Step) -> float:
    def distance(own: torch.Tensor, other: torch.Tensor) -> float:
        total = 0.0
        for one, its in zip(own.flatten(0, 1).flatten(1).tolist(), other.flatten(0, 1)):
            p = [math.exp(x / loss.temperature) for x in its.flatten().tolist()]
            q = [math.exp(x / loss.temperature) for x in one]
            total += sum(a / sum(p) * math.log(a / sum(p) / (b / sum(q))) for a, b in zip(p, q))
        return loss.temperature**2 * total / own.shape[0] / own.shape[1]

    return slow_dense(loss, step, distance)


def slow_pkd(loss: DistillLoss, step: Step) -> float:
    def distance(own: torch.Tensor, other: torch.Tensor) -> float:
        stacked = [(own[:, c].flatten(), other[:, c].flatten()) for c in range(own.shape[1])]
        return sum(1 - torch.corrcoef(torch.stack(pair))[0, 1].item() for pair in stacked) / len(
            stacked
        )

    return slow_dense(loss, step, distance)


def slow_dist(loss: DistillLoss, step: Step) -> float:
    own, other = ((x.logits / loss.temperature).softmax(1) for x in (step.learner, step.source))
    total = 0.0
    for weight, first, second in (
        (loss.inter_weight, own, other),
        (loss.intra_weight, own.T, other.T),
    ):
        rows = [torch.corrcoef(torch.stack(pair))[0, 1].item() for pair in zip(first, second)]
        total += weight * sum(1 - r for r in rows) / len(rows)
    return loss.loss_weight * loss.temperature**2 * total


# Slow float64 versions, by the name of the class.
REFERENCES = {
    'AttentionTransferLoss': slow_attention,
    'CWDLoss': slow_cwd,
    'DISTLoss': slow_dist,
    'HintLoss': slow_l2,
    'KDLoss': slow_kd,
    'PKDLoss': slow_pkd,
}
# What a small number beside a deviation changes.
TOLERANCES = {'DISTLoss': 1e-4, 'PKDLoss': 1e-5}


@pytest.mark.parametrize(
    ('kind', 'within'), [case for case in CASES if case.values[0].__name__ in REFERENCES]
)
def test_it_agrees_with_its_slow_reference(kind, within):
    loss, step = built(kind, within, torch.float64)
    expected = REFERENCES[kind.__name__](loss, step)
    tolerance = TOLERANCES.get(kind.__name__, 1e-9)
    assert value(loss, step).item() == pytest.approx(expected, rel=tolerance)
