import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from mmmuse.critics import GlobalLocalCritic
from mmmuse.errors import InputError
from mmmuse.functional import jsd_critic_loss

ARCHITECTURES = ['concat', 'dot']
EXACT = dict(rtol=1e-12, atol=1e-12)


def critic_and_views(architecture='concat', num_images=4, size=(3, 2), **options):
    """A float64 critic of 5 local and 7 global channels, and a batch of views for it."""
    critic = GlobalLocalCritic(5, 7, architecture, hidden_channels=6, **options).double()
    local = torch.randn(num_images, 5, *size, dtype=torch.float64, requires_grad=True)
    global_vector = torch.randn(num_images, 7, dtype=torch.float64, requires_grad=True)
    return critic, local, global_vector


def literal_concat_score(critic, local, global_vector):
    """Three 1x1 convolutions on the concatenation of map and broadcast vector."""
    score = critic.pair_score
    weights = [
        torch.cat([score.local_projection.weight, score.global_projection.weight], 1),
        score.hidden.weight,
        score.score.weight,
    ]
    biases = [score.local_projection.bias, score.hidden.bias, score.score.bias]
    broadcast = global_vector[:, :, None, None].expand(-1, -1, *local.shape[-2:])
    x = torch.cat([local, broadcast], 1)
    for i, (weight, bias) in enumerate(zip(weights, biases)):
        x = F.conv2d(x if i == 0 else x.relu(), weight[..., None, None], bias)
    return x.flatten(1)


def literal_dot_score(critic, local, global_vector):
    """Inner products of embeddings; batch statistics are those of the whole batch of maps."""
    local_vectors = critic.pair_score.local_embedding(local.permute(0, 2, 3, 1).reshape(-1, 5))
    global_vectors = critic.pair_score.global_embedding(global_vector)
    maps = local_vectors.reshape(len(local), -1, local_vectors.shape[-1])
    return (maps * global_vectors[:, None]).sum(-1)


LITERAL = dict(concat=literal_concat_score, dot=literal_dot_score)


def gradients(loss, critic, *inputs):
    return torch.autograd.grad(loss, [*critic.parameters(), *inputs])


@pytest.mark.parametrize('architecture', ARCHITECTURES)
def test_true_pairs_are_each_image_with_its_own_vector(architecture):
    critic, local, global_vector = critic_and_views(architecture)
    expected = LITERAL[architecture](critic, local, global_vector)
    torch.testing.assert_close(critic(local, global_vector).joint, expected, **EXACT)


@pytest.mark.parametrize('architecture', ARCHITECTURES)
def test_roll_pairs_each_vector_with_the_map_of_the_image_before(architecture):
    critic, local, global_vector = critic_and_views(architecture, negatives='roll')
    marginal = critic(local, global_vector).marginal
    partners = torch.tensor([1, 2, 3, 0])  # Image n - 1 meets the vector of image n.
    expected = LITERAL[architecture](critic, local, global_vector[partners])
    torch.testing.assert_close(marginal, expected.unsqueeze(0), **EXACT)


def test_rolling_the_vectors_is_rolling_the_maps():
    critic, local, global_vector = critic_and_views()
    rolled_maps = literal_concat_score(critic, local.roll(1, 0), global_vector)
    torch.testing.assert_close(
        critic(local, global_vector).marginal[0].roll(1, 0), rolled_maps, **EXACT
    )


@pytest.mark.parametrize('architecture', ARCHITECTURES)
def test_all_pairs_equal_a_double_loop_over_the_images(architecture):
    critic, local, global_vector = critic_and_views(architecture, negatives='all')
    joint, marginal = critic(local, global_vector)
    rows = {}
    for vector in range(4):
        everyone = global_vector[[vector] * 4] if architecture == 'concat' else None
        for image in range(4):
            if architecture == 'concat':
                row = literal_concat_score(critic, local, everyone)[image]
            else:
                row = literal_dot_score(critic, local, global_vector.roll(image - vector, 0))[image]
            rows[image, vector] = row
    true = torch.stack([rows[n, n] for n in range(4)])
    torch.testing.assert_close(joint, true, **EXACT)
    assert marginal.shape == (3, 4, 6)
    for k in range(3):
        for image in range(4):
            expected = rows[image, (image + k + 1) % 4]
            torch.testing.assert_close(marginal[k, image], expected, **EXACT)


@pytest.mark.parametrize('negatives', ['roll', 'all'])
@pytest.mark.parametrize('path', ['scores', 'jsd_loss'])
def test_concat_has_the_gradients_of_the_literal_concatenation(path, negatives):
    critic, local, global_vector = critic_and_views(negatives=negatives)
    if path == 'scores':
        loss = jsd_critic_loss(*critic(local, global_vector))
    else:
        loss = critic.jsd_loss(local, global_vector)
    shifts = [1] if negatives == 'roll' else [1, 2, 3]
    expected = jsd_critic_loss(
        literal_concat_score(critic, local, global_vector),
        torch.cat(
            [literal_concat_score(critic, local, global_vector.roll(-shift, 0)) for shift in shifts]
        ),
    )
    torch.testing.assert_close(loss, expected, **EXACT)
    found = gradients(loss, critic, local, global_vector)
    for (name, _), grad, wanted in zip(
        [*critic.named_parameters(), ('local', None), ('global', None)],
        found,
        gradients(expected, critic, local, global_vector),
    ):
        assert wanted.abs().max() > 0, name
        torch.testing.assert_close(grad, wanted, **EXACT, msg=name)


@pytest.mark.parametrize('negatives', ['roll', 'all'])
def test_dot_has_the_gradients_of_the_literal_inner_products(negatives):
    critic, local, global_vector = critic_and_views('dot', negatives=negatives)
    shifts = [1] if negatives == 'roll' else [1, 2, 3]
    expected = jsd_critic_loss(
        literal_dot_score(critic, local, global_vector),
        torch.cat(
            [literal_dot_score(critic, local, global_vector.roll(-shift, 0)) for shift in shifts]
        ),
    )
    loss = critic.jsd_loss(local, global_vector)
    torch.testing.assert_close(loss, expected, **EXACT)
    for grad, wanted in zip(
        gradients(loss, critic, local, global_vector),
        gradients(expected, critic, local, global_vector),
    ):
        torch.testing.assert_close(grad, wanted, rtol=1e-9, atol=1e-12)


def test_the_first_layer_starts_as_one_layer_on_the_concatenation_would():
    critic = GlobalLocalCritic(30, 70, hidden_channels=500).pair_score
    for weight in (critic.local_projection.weight, critic.global_projection.weight):
        # Uniform on +-1 / sqrt(100), torch's default for 100 inputs.
        assert weight.abs().max() <= 0.1
        assert weight.abs().mean().item() == pytest.approx(0.05, rel=0.05)


@pytest.mark.parametrize(('architecture', 'width'), [('concat', 512), ('dot', 512)])
def test_critics_are_512_wide_by_default(architecture, width):
    shapes = {
        tuple(parameter.shape) for parameter in GlobalLocalCritic(3, 4, architecture).parameters()
    }
    assert (width, 3) in shapes
    assert (width, 4) in shapes
    assert (width, width) in shapes


@pytest.mark.parametrize('architecture', ARCHITECTURES)
def test_tokens_score_as_the_map_they_came_from(architecture):
    critic, local, global_vector = critic_and_views(architecture)
    tokens = local.flatten(2).transpose(1, 2)
    for scores, expected in zip(critic(tokens, global_vector), critic(local, global_vector)):
        torch.testing.assert_close(scores, expected, **EXACT)
    torch.testing.assert_close(
        critic.jsd_loss(tokens, global_vector), critic.jsd_loss(local, global_vector), **EXACT
    )


def test_a_vector_is_one_location():
    critic, local, global_vector = critic_and_views(size=(1, 1))
    scores = critic(local[:, :, 0, 0], global_vector)
    assert scores.joint.shape == (4, 1)
    torch.testing.assert_close(scores.joint, critic(local, global_vector).joint, **EXACT)


@pytest.mark.parametrize('architecture', ARCHITECTURES)
@pytest.mark.parametrize('method', ['__call__', 'jsd_loss'])
def test_a_batch_of_one_has_no_negative(architecture, method):
    critic, local, global_vector = critic_and_views(architecture, num_images=1)
    with pytest.raises(InputError, match='at least 2 images, got 1'):
        getattr(critic, method)(local, global_vector)


@pytest.mark.parametrize('shape', [(3, 7), (5, 7), (4, 7, 1)])
def test_another_number_of_vectors_than_of_maps_is_refused(shape):
    critic, local, _ = critic_and_views()
    with pytest.raises(InputError, match='one global vector'):
        critic.jsd_loss(local, torch.zeros(shape, dtype=torch.float64))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(architecture='bilinear'), "'concat' or 'dot', got 'bilinear'"),
        (dict(negatives='none'), "'roll' or 'all', got 'none'"),
        (dict(num_locations=0), "None, an integer of at least 1 or 'auto', got 0"),
        (dict(num_locations='all'), "or 'auto', got 'all'"),
        (dict(locations_per_batch=0), 'locations_per_batch is an integer of at least 1, got 0'),
        (dict(num_locations=-3), 'got -3'),
        (dict(hidden_channels=0), 'hidden_channels is None or an integer of at least 1, got 0'),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(InputError, match=message):
        GlobalLocalCritic(4, 4, **options)


@pytest.mark.parametrize('architecture', ARCHITECTURES)
@pytest.mark.parametrize('num_locations', [1, 4, 5])
def test_locations_are_drawn_anew_per_image_and_none_twice(architecture, num_locations):
    critic = GlobalLocalCritic(1, 1, architecture, hidden_channels=4, num_locations=num_locations)
    # Each location holds its own number, so that the draw can be read off.
    numbers = torch.arange(48.0).view(8, 1, 2, 3)
    draws = [critic._draw(numbers).squeeze(-1) for _ in range(20)]
    for draw in draws:
        assert draw.shape == (8, num_locations)
        for image, row in enumerate(draw.tolist()):
            assert len(set(row)) == num_locations
            assert all(6 * image <= number < 6 * image + 6 for number in row)
    chosen = {tuple(sorted((row - 6 * i).tolist())) for draw in draws for i, row in enumerate(draw)}
    # 160 draws of 6, 15 or 6 possible sets see them all.
    assert len(chosen) == math.comb(6, num_locations)
    assert critic(numbers, torch.ones(8, 1)).joint.shape == (8, num_locations)


@pytest.mark.parametrize('num_locations', [6, 7])
def test_asking_for_every_location_or_more_draws_none(num_locations):
    critic, local, global_vector = critic_and_views(num_locations=num_locations)
    expected = literal_concat_score(critic, local, global_vector)
    torch.testing.assert_close(critic(local, global_vector).joint, expected, **EXACT)


@pytest.mark.parametrize(
    ('num_images', 'expected'), [(2, 6), (4, 5), (8, 2), (10, 2), (20, 1), (21, 1), (50, 1)]
)
def test_auto_divides_the_locations_of_a_batch_among_its_images(num_images, expected):
    # Of 20 locations: 10 for each of 2 images, which have 6; 5 of 4; 2 of 8, where 4 are left over.
    critic = GlobalLocalCritic(1, 1, num_locations='auto', locations_per_batch=20)
    scores = critic(torch.randn(num_images, 1, 2, 3), torch.randn(num_images, 1))
    assert scores.joint.shape == (num_images, expected)


def test_a_number_of_locations_does_not_depend_on_the_batch():
    critic = GlobalLocalCritic(1, 1, num_locations=3, locations_per_batch=4)
    for num_images in (2, 20):
        scores = critic(torch.randn(num_images, 1, 2, 3), torch.randn(num_images, 1))
        assert scores.joint.shape == (num_images, 3)


@pytest.mark.parametrize('negatives', ['roll', 'all'])
def test_drawn_locations_estimate_the_full_loss_without_bias(negatives):
    critic, local, global_vector = critic_and_views(size=(4, 4), negatives=negatives)
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.mul_(3)  # Scores that differ well between locations.
        full = critic.jsd_loss(local, global_vector)
        critic.num_locations = 3
        draws = torch.stack([critic.jsd_loss(local, global_vector) for _ in range(2000)])
    assert draws.std() > 0.01
    standard_error = draws.std() / len(draws) ** 0.5
    assert (draws.mean() - full).abs() < 3 * standard_error


def test_drawn_locations_bring_gradient_to_themselves_alone():
    critic, local, global_vector = critic_and_views(num_locations=2)
    critic.jsd_loss(local, global_vector).backward()
    touched = (local.grad.abs().sum(1) > 0).flatten(1).sum(1)
    assert touched.tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize('architecture', ARCHITECTURES)
def test_the_memory_format_of_a_map_changes_no_draw_and_no_gradient(architecture):
    critic, local, global_vector = critic_and_views(architecture, size=(4, 4), num_locations=3)
    found = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        map_ = local.detach().contiguous(memory_format=memory_format).requires_grad_()
        torch.manual_seed(1)
        loss = critic.jsd_loss(map_, global_vector)
        found.append((loss, *torch.autograd.grad(loss, [map_, *critic.parameters()])))
    torch.testing.assert_close(*found, **EXACT)


def gaussian_information(rho: float, dims: int) -> float:
    return -0.5 * dims * math.log(1 - rho**2)


@pytest.mark.parametrize('architecture', ARCHITECTURES)
def test_a_trained_critic_orders_gaussians_by_their_mutual_information(architecture):
    dims, num_images = 3, 128
    correlations = [0.0, 0.4, 0.8, 0.95]
    losses = []
    for rho in correlations:
        torch.manual_seed(0)
        critic = GlobalLocalCritic(dims, dims, architecture, hidden_channels=24)
        optimizer = torch.optim.Adam(critic.parameters(), lr=1e-2)

        def draw(rho=rho):
            a, noise = torch.randn(2, num_images, dims)
            return a, rho * a + (1 - rho**2) ** 0.5 * noise

        for _ in range(200):
            optimizer.zero_grad()
            critic.jsd_loss(*draw()).backward()
            optimizer.step()
        with torch.no_grad():
            losses.append(sum(critic.jsd_loss(*draw()).item() for _ in range(40)) / 40)
    information = [gaussian_information(rho, dims) for rho in correlations]
    assert information == sorted(information)
    # More information, lower loss; by clear steps, and independence is told from knowing.
    assert losses[0] == pytest.approx(2 * math.log(2), abs=0.05)
    for weaker, stronger in itertools.pairwise(losses):
        assert stronger < weaker - 0.03


@pytest.mark.parametrize('architecture', ARCHITECTURES)
@pytest.mark.parametrize('method', ['__call__', 'jsd_loss'])
def test_a_normalizing_critic_scores_standardised_vectors(architecture, method):
    """Its values and gradients are those of a plain critic on them; the features' scale does not matter."""
    critic, local, vector = critic_and_views(architecture, normalize=True)
    plain = GlobalLocalCritic(5, 7, architecture, hidden_channels=6).double()
    plain.load_state_dict(critic.state_dict())

    def value(of, *views):
        found = getattr(of, method)(*views)
        return found if method == 'jsd_loss' else found.joint.sum() + 2 * found.marginal.sum()

    def standardised(vectors, dim):
        centred = vectors - vectors.mean(dim, keepdim=True)
        return centred / (centred.square().mean(dim, keepdim=True) + 1e-5).sqrt()

    expected = value(plain, standardised(local, 1), standardised(vector, 1))
    found = value(critic, local, vector)
    torch.testing.assert_close(found, expected, **EXACT)
    for one, other in zip(
        gradients(found, critic, local, vector), gradients(expected, plain, local, vector)
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    larger = value(critic, 1e4 * local, 1e4 * vector)
    torch.testing.assert_close(larger, found, rtol=1e-4, atol=1e-4)
