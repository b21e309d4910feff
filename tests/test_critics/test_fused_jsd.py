import copy

import pytest
import torch

from mmmuse.critics import GlobalLocalCritic, fused_jsd
from mmmuse.functional import jsd_critic_loss
from mmmuse.registry import MODELS

# Where there is a GPU, its own way of computing a linear layer is tested too.
DEVICES = ['cpu', *(['cuda'] if torch.cuda.is_available() else [])]


def critic_and_views(num_images=7, dtype=torch.float64, device='cpu', **options):
    critic = GlobalLocalCritic(5, 6, hidden_channels=8, **options).to(device, dtype)
    local = torch.randn(num_images, 5, 3, 2, device=device, dtype=dtype, requires_grad=True)
    global_vector = torch.randn(num_images, 6, device=device, dtype=dtype, requires_grad=True)
    return critic, local, global_vector


def loss_and_gradients(loss, critic, *inputs):
    return [loss, *torch.autograd.grad(loss, [*critic.parameters(), *inputs])]


# 7 images of 6 locations: one image a chunk (also where a chunk is smaller than an image), chunks
# of 2, 2, 2, 1 and of 3, 3, 1 images, and everything at once.
@pytest.mark.parametrize(('rows', 'num_chunks'), [(1, 7), (6, 7), (12, 4), (20, 3), (10**6, 1)])
@pytest.mark.parametrize('negatives', ['roll', 'all'])
@pytest.mark.parametrize('device', DEVICES)
def test_chunks_change_nothing(monkeypatch, rows, num_chunks, negatives, device):
    critic, local, global_vector = critic_and_views(negatives=negatives, device=device)
    expected = loss_and_gradients(
        jsd_critic_loss(*critic(local, global_vector)), critic, local, global_vector
    )
    monkeypatch.setattr(fused_jsd, '_CHUNK_ROWS', {device: rows, 'cpu': rows})
    chunks = []
    linear_backward = fused_jsd._linear_backward

    def counted(grad, tokens, weight):
        chunks.append(tokens.shape)
        return linear_backward(grad, tokens, weight)

    monkeypatch.setattr(fused_jsd, '_linear_backward', counted)
    found = loss_and_gradients(critic.jsd_loss(local, global_vector), critic, local, global_vector)
    num_sets = 2 if negatives == 'roll' else 7  # Each set of pairs, and the local projection.
    assert len(chunks) == num_chunks * (num_sets + 1)
    for value, wanted in zip(found, expected):
        torch.testing.assert_close(value, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('negatives', ['roll', 'all'])
def test_its_gradient_is_that_of_finite_differences(negatives):
    critic, local, global_vector = critic_and_views(num_images=3, negatives=negatives)
    # Smooth at these points: no unit of the ReLUs within a difference of 0.
    assert torch.autograd.gradcheck(critic.jsd_loss, (local, global_vector))


def test_the_gradient_is_scaled_by_what_comes_after_the_loss():
    critic, local, global_vector = critic_and_views()
    once = loss_and_gradients(critic.jsd_loss(local, global_vector), critic, local, global_vector)
    squared = loss_and_gradients(
        critic.jsd_loss(local, global_vector) ** 2, critic, local, global_vector
    )
    for grad, grad_of_square in zip(once[1:], squared[1:]):
        torch.testing.assert_close(grad_of_square, 2 * once[0] * grad)


def test_works_without_gradients():
    critic, local, global_vector = critic_and_views()
    expected = critic.jsd_loss(local, global_vector)
    with torch.no_grad():
        loss = critic.jsd_loss(local, global_vector)
    assert not loss.requires_grad
    assert torch.equal(loss, expected.detach())


def test_nothing_is_needed_from_the_views():
    critic, local, global_vector = critic_and_views()
    critic.jsd_loss(local.detach(), global_vector.detach()).backward()
    assert all(parameter.grad is not None for parameter in critic.parameters())


def test_frozen_critics_still_pass_gradient_to_the_views():
    critic, local, global_vector = critic_and_views()
    expected = torch.autograd.grad(critic.jsd_loss(local, global_vector), [local, global_vector])
    critic.requires_grad_(False)
    critic.jsd_loss(local, global_vector).backward()
    torch.testing.assert_close([local.grad, global_vector.grad], list(expected))


def test_channels_last_maps_give_the_same():
    critic, local, global_vector = critic_and_views()
    channels_last = local.detach().to(memory_format=torch.channels_last).requires_grad_()
    for a, b in zip(
        loss_and_gradients(critic.jsd_loss(local, global_vector), critic, local),
        loss_and_gradients(critic.jsd_loss(channels_last, global_vector), critic, channels_last),
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize('negatives', ['roll', 'all'])
@pytest.mark.parametrize('device', DEVICES)
def test_under_autocast_the_loss_is_float32_and_close(negatives, device):
    critic, local, global_vector = critic_and_views(
        dtype=torch.float32, negatives=negatives, device=device
    )
    expected = loss_and_gradients(
        critic.jsd_loss(local, global_vector), critic, local, global_vector
    )
    with torch.autocast(device, torch.bfloat16):
        loss = critic.jsd_loss(local, global_vector)
    assert loss.dtype == torch.float32
    found = loss_and_gradients(loss, critic, local, global_vector)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-2, atol=0)
    assert all(grad.dtype == torch.float32 for grad in found[1:])
    gradient, wanted = (
        torch.cat([grad.flatten() for grad in grads[1:]]) for grads in (found, expected)
    )
    # Where a sum rounds across 0, a unit's ReLU, and its gradient, switches.
    assert (gradient - wanted).norm() < 0.25 * wanted.norm()


def test_under_autocast_means_do_not_round_to_bfloat16():
    critic, local, global_vector = critic_and_views(dtype=torch.float32)
    with torch.autocast('cpu', torch.bfloat16):
        loss = critic.jsd_loss(local, global_vector)
    assert loss.bfloat16().float() != loss


def test_maps_in_bfloat16_get_a_gradient_of_their_own_type():
    critic, local, global_vector = critic_and_views(dtype=torch.float32)
    halved = local.detach().bfloat16().requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        critic.jsd_loss(halved, global_vector).backward()
    assert halved.grad.dtype == torch.bfloat16
    assert halved.grad.isfinite().all()
    assert halved.grad.abs().max() > 0


@pytest.mark.parametrize(('score_scale', 'feature_scale'), [(0.01, 1.0), (1.0, 300.0)])
def test_scaled_gradients_in_float16_neither_vanish_nor_overflow(score_scale, feature_scale):
    critic, local, global_vector = critic_and_views(num_images=4000, dtype=torch.float32)
    with torch.no_grad():
        critic.pair_score.score.weight.mul_(score_scale)
        local.mul_(feature_scale)
    expected = loss_and_gradients(critic.jsd_loss(local, global_vector), critic, local)
    halved = local.detach().half().requires_grad_()
    loss_scale = 2.0**12
    with torch.autocast('cpu', torch.float16):
        loss = critic.jsd_loss(halved, global_vector)
    found = loss_and_gradients(loss * loss_scale, critic, halved)
    for grad, wanted in zip(found[1:], expected[1:]):
        grad = grad.float() / loss_scale
        assert grad.isfinite().all()
        assert (grad - wanted).norm() < 0.1 * wanted.norm()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('negatives', ['roll', 'all'])
@pytest.mark.parametrize('device', DEVICES)
def test_a_model_of_half_precision_sums_in_float32(dtype, negatives, device):
    torch.manual_seed(0)
    critic = GlobalLocalCritic(16, 32, hidden_channels=64, negatives=negatives).to(device, dtype)
    exact = copy.deepcopy(critic).double()
    local = torch.randn(16, 16, 16, 16, device=device).to(dtype).requires_grad_()
    vector = torch.randn(16, 32, device=device).to(dtype).requires_grad_()
    found = loss_and_gradients(critic.jsd_loss(local, vector), critic, local, vector)
    local64, vector64 = (x.detach().double().requires_grad_() for x in (local, vector))
    wanted = loss_and_gradients(exact.jsd_loss(local64, vector64), exact, local64, vector64)
    assert found[0].dtype == torch.float32
    # A sum in bfloat16 would be off by 3e-2 with all negatives, and by 4e-4 with one.
    assert found[0].item() == pytest.approx(wanted[0].item(), rel=3e-5)
    for value, gradient in zip(found[1:], wanted[1:]):
        assert value.dtype == dtype
        assert (value.double() - gradient).norm() < 0.08 * gradient.norm()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('architecture', ['concat', 'dot'])
@pytest.mark.parametrize('estimator', ['JensenShannon', 'InfoNCE', 'DonskerVaradhan', 'NWJ'])
def test_every_estimator_of_a_half_model_agrees_with_float64(estimator, architecture, dtype):
    critic = GlobalLocalCritic(16, 32, architecture, hidden_channels=32).to(dtype)
    estimate = MODELS.build(dict(type=f'mmmuse.{estimator}')).to(dtype)
    local, vector = torch.randn(8, 16, 8, 8).to(dtype), torch.randn(8, 32).to(dtype)
    exact = copy.deepcopy(critic).double()
    with torch.no_grad():
        if architecture == 'dot':  # Scores of the size of a critic's under training.
            for part in (critic, exact):
                part.pair_score.global_embedding.norm.weight.mul_(0.1)
        found = estimate(critic, local, vector)
        wanted = copy.deepcopy(estimate).double()(exact, local.double(), vector.double())
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(wanted.item(), rel=0.01, abs=0.01)
