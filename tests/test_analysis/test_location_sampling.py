import pytest
import torch

from mmmuse.analysis.location_sampling import location_sampling_spread
from mmmuse.critics import GlobalLocalCritic
from mmmuse.errors import InputError
from tests.conftest import labelled, small_classifier_config, small_distiller

# The taps of an image of 16x16 have 256, 64 and 16 locations.
EVERY = 256


def batches(number: int = 2, *shape: int) -> list[dict]:
    shape = shape or (3, 16, 16)
    return [
        dict(inputs=torch.randn(4, *shape), data_samples=labelled([0, 1, 2, 3]))
        for _ in range(number)
    ]


def critics_of(distiller) -> list[GlobalLocalCritic]:
    return [part for part in distiller.modules() if isinstance(part, GlobalLocalCritic)]


def with_spread_scores(variant: str, **options):
    """A distiller whose critics score locations differently, as trained ones do."""
    distiller = small_distiller(variant, **options)
    with torch.no_grad():
        for critic in critics_of(distiller):
            for parameter in critic.parameters():
                parameter.mul_(3)
    return distiller


def test_every_location_leaves_no_spread_of_draws():
    spread = location_sampling_spread(with_spread_scores('mi_x_si'), batches(), [EVERY], draws=1)
    assert spread.of_draws[EVERY] == (0, 0, 0)
    assert min(spread.of_batches) > 0


def test_the_variance_of_draws_is_that_of_samples_without_replacement():
    # The loss of one module is a mean over locations: the variance of a sample of n out of L is
    # proportional to (1 / n) (1 - n / L).
    student = dict(
        small_classifier_config(),
        backbone=dict(type='LeNet5'),
        head=dict(type='LinearClsHead', num_classes=5, in_channels=120),
    )
    taps = dict(modules=['backbone.features.5'], last='backbone.features.7', logits='head')
    distiller = with_spread_scores('mi', student=student, taps=taps)  # One critic.
    spread = location_sampling_spread(distiller, batches(2, 1, 32, 32), [2, 8], draws=200)
    expected = (1 / 2) * (1 - 2 / 25) / ((1 / 8) * (1 - 8 / 25))
    few, many = (spread.of_draws[number].loss for number in (2, 8))
    assert few / many == pytest.approx(expected, rel=0.25)


def test_more_locations_spread_less_in_loss_and_gradients():
    spread = location_sampling_spread(with_spread_scores('mi_x_si'), batches(), [1, 8], draws=8)
    for few, many in zip(spread.of_draws[1], spread.of_draws[8], strict=True):
        assert 0 < many < few


def test_weights_and_numbers_of_locations_stay_as_they_were():
    distiller = small_distiller('mi_x_si')
    weights = {name: value.clone() for name, value in distiller.named_parameters()}
    numbers = [critic.num_locations for critic in critics_of(distiller)]
    location_sampling_spread(distiller, batches(), [2], draws=1)
    assert [critic.num_locations for critic in critics_of(distiller)] == numbers
    for name, value in distiller.named_parameters():
        assert torch.equal(value, weights[name])
        assert value.grad is None


def test_a_single_batch_has_no_spread():
    with pytest.raises(InputError, match='at least two, got 1'):
        location_sampling_spread(small_distiller('mi_x_si'), batches(1), [2])


def test_a_model_without_critics_is_refused():
    with pytest.raises(InputError, match='has no mmmuse'):
        location_sampling_spread(small_distiller('ce_kd'), batches(), [2])
