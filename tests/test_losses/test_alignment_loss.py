import pytest
import torch
import torch.nn.functional as F

from mmmuse.errors import InputError
from mmmuse.losses import MapAlignmentLoss, VectorAlignmentLoss
from mmmuse.tapping.features import DistillFeatures, FeatureSpec, NetworkSpecs, Step

LEARNER = NetworkSpecs(last=FeatureSpec(4, (4, 4)))
SOURCE = NetworkSpecs(last=FeatureSpec(6, (2, 2)), taps='teacher_taps')


def features() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(3, 4, 4, 4), torch.randn(3, 6, 2, 2)


def step(own: torch.Tensor, target: torch.Tensor) -> Step:
    return Step(DistillFeatures(last=own), DistillFeatures(last=target))


def distance(own: torch.Tensor, target: torch.Tensor, kind: str) -> float:
    """Of two vectors."""
    own, target = ((x - x.mean()) / (x.var(correction=0) + 1e-6).sqrt() for x in (own, target))
    if kind == 'cosine':
        return 1 - (own @ target / own.norm() / target.norm()).item()
    return F.smooth_l1_loss(own, target, beta=2.0).item()


@pytest.mark.parametrize('kind', ['cosine', 'smooth_l1'])
def test_maps_are_compared_location_by_location_on_the_smaller_grid(kind):
    loss = MapAlignmentLoss(LEARNER, SOURCE, loss_weight=3.0, distance=kind)
    own, target = features()
    expected = []
    for n in range(3):
        for i in range(2):
            for j in range(2):
                pooled = own[n, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((1, 2))
                expected.append(distance(loss.projection(pooled), target[n, :, i, j], kind))
    found = loss(step(own, target))
    assert set(found) == {'loss_align_maps'}
    assert found['loss_align_maps'].item() == pytest.approx(3 * sum(expected) / 12, rel=1e-4)


@pytest.mark.parametrize('kind', ['cosine', 'smooth_l1'])
def test_vectors_are_averages_over_the_locations(kind):
    loss = VectorAlignmentLoss(LEARNER, SOURCE, distance=kind)
    own, target = features()
    expected = [
        distance(loss.projection(a.mean((1, 2))), b.mean((1, 2)), kind)
        for a, b in zip(own, target, strict=True)
    ]
    found = loss(step(own, target))
    assert found['loss_align_vector'].item() == pytest.approx(sum(expected) / 3, rel=1e-4)


def test_tokens_of_a_transformer_are_a_grid_without_their_class_token():
    tokens = torch.randn(3, 5, 6)
    source = NetworkSpecs(last=FeatureSpec.of(tokens.shape))
    loss = MapAlignmentLoss(LEARNER, source)
    own, _ = features()
    as_map = tokens[:, 1:].transpose(1, 2).unflatten(2, (2, 2))
    torch.testing.assert_close(loss(step(own, tokens)), loss(step(own, as_map)))


def test_the_common_width_is_a_fixed_orthonormal_basis_of_the_source():
    loss, again = (VectorAlignmentLoss(LEARNER, SOURCE, channels=5) for _ in range(2))
    torch.testing.assert_close(loss.basis.T @ loss.basis, torch.eye(5), atol=1e-5, rtol=0)
    assert torch.equal(loss.basis, again.basis)
    assert set(dict(loss.named_parameters())) == {'projection.weight', 'projection.bias'}
    assert loss.projection.out_features == 5
    own, target = features()
    expected = [
        distance(loss.projection(a.mean((1, 2))), b.mean((1, 2)) @ loss.basis, 'cosine')
        for a, b in zip(own, target, strict=True)
    ]
    found = loss(step(own, target))['loss_align_vector'].item()
    assert found == pytest.approx(sum(expected) / 3, rel=1e-4)


def test_training_brings_a_student_to_the_teacher():
    torch.manual_seed(0)
    loss = VectorAlignmentLoss(LEARNER, SOURCE)
    images = torch.randn(32, 4)
    teacher = images @ torch.randn(4, 6)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.05)
    values = []
    for _ in range(100):
        value = loss(step(images, teacher))['loss_align_vector']
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[0] > 0.3
    assert values[-1] < 0.01


def test_what_cannot_be_compared_is_refused():
    vector = NetworkSpecs(last=FeatureSpec(6, path='head.fc'), taps='teacher_taps')
    with pytest.raises(
        InputError, match=r"^MapAlignmentLoss compares maps, .*'head.fc'.* a vector"
    ):
        MapAlignmentLoss(LEARNER, vector)
    with pytest.raises(InputError, match='channels is at most the width of the source, 6, got 7'):
        VectorAlignmentLoss(LEARNER, SOURCE, channels=7)
    with pytest.raises(InputError, match=r'set teacher_taps\.last'):
        VectorAlignmentLoss(LEARNER, NetworkSpecs(taps='teacher_taps'))
