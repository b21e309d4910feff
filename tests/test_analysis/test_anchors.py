import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmmuse.analysis.anchors import (
    AnchorSetup,
    anchors_of_head,
    cluster_anchors,
    fit_of_levels,
    propose_anchors,
    refine_anchors,
    share_among_levels,
)
from mmmuse.errors import InputError

KNOWN = [[(12, 20), (40, 30)], [(60, 150), (160, 90)], [(300, 240), (200, 480)]]
STRIDES = [8, 16, 32]
side = st.floats(1, 500)
whole_side = st.integers(1, 500)  # The loop divides the other way round: no ties but exact ones.


def boxes_around(levels, number=100, spread=0.05, seed=0):
    """Boxes that differ from each anchor by small random factors."""
    generator = torch.Generator().manual_seed(seed)
    anchors = torch.tensor([size for level in levels for size in level], dtype=torch.float64)
    noise = torch.randn(number, *anchors.shape, generator=generator, dtype=torch.float64)
    return (anchors * (spread * noise).exp()).reshape(-1, 2)


def looped_fit(sizes, levels, threshold):
    """Recall, fitness, anchors per box and boxes of each level, box by box."""
    recalled, fitness, matches, of_levels = 0, 0.0, 0, [0] * len(levels)
    for w, h in sizes:
        best = 0.0
        for i, level in enumerate(levels):
            worst = [max(w / aw, aw / w, h / ah, ah / h) for aw, ah in level]
            matches += sum(factor < threshold for factor in worst)
            of_levels[i] += min(worst) < threshold
            best = max(best, 1 / min(worst))
        recalled += best > 1 / threshold
        fitness += best if best > 1 / threshold else 0
    return recalled / len(sizes), fitness / len(sizes), matches / len(sizes), of_levels


@settings(deadline=None, max_examples=30)
@given(
    sizes=st.lists(st.tuples(whole_side, whole_side), min_size=1, max_size=8),
    threshold=st.sampled_from([1.5, 3.0, 4.0]),
)
def test_the_fit_is_that_of_a_plain_double_loop(sizes, threshold):
    fit = fit_of_levels(torch.tensor(sizes, dtype=torch.float64), KNOWN, threshold)
    recall, fitness, per_box, of_levels = looped_fit(sizes, KNOWN, threshold)
    assert fit.recall == pytest.approx(recall)
    assert fit.fitness == pytest.approx(fitness)
    assert fit.anchors_per_box == pytest.approx(per_box)
    assert fit.boxes_of_levels == of_levels


def test_a_side_of_exactly_the_threshold_does_not_match():
    sizes = torch.tensor([[40.0, 10], [39, 10], [2.5, 10], [2.6, 10]], dtype=torch.float64)
    fit = fit_of_levels(sizes, [[(10, 10)]], 4)
    assert fit.recall == fit.anchors_per_box == 0.5
    assert fit.fitness == pytest.approx((10 / 39 + 0.26) / 4)
    assert fit.boxes_of_levels == [2]


@pytest.mark.parametrize('seed', [0, 1])
def test_anchors_that_boxes_were_drawn_around_are_recovered(seed):
    sizes = boxes_around(KNOWN, seed=seed)
    present = AnchorSetup([[(10, 10), (20, 20)]] * 3, STRIDES)
    found = propose_anchors(sizes, present, 6, generations=200, seed=seed)
    for level, known in zip(found, KNOWN):
        for size, expected in zip(level, known):
            assert size == pytest.approx(expected, rel=0.06)
    assert fit_of_levels(sizes, found).fitness > 0.9


def test_refinement_never_lowers_the_fitness_and_improves_a_bad_start():
    sizes = boxes_around(KNOWN)
    anchors = cluster_anchors(sizes, 6)
    bad = (anchors * 1.3).round()
    trail = [
        fit_of_levels(sizes, [refine_anchors(sizes, bad, generations=n).tolist()]).fitness
        for n in (0, 20, 100, 400)
    ]
    assert trail == sorted(trail)
    assert trail[0] == fit_of_levels(sizes, [bad.tolist()]).fitness
    assert trail[-1] > trail[0] + 0.1


def test_no_anchors_of_lower_or_equal_fitness_are_proposed():
    exact = torch.tensor([size for level in KNOWN for size in level], dtype=torch.float64)
    present = AnchorSetup(KNOWN, STRIDES)
    assert propose_anchors(exact.repeat(10, 1), present, 6, generations=50) is None
    # Fewer anchors than the head has cannot do better on such boxes.
    assert propose_anchors(boxes_around(KNOWN), present, 3, generations=50) is None


@settings(deadline=None, max_examples=15)
@given(
    present=st.lists(st.tuples(side, side), min_size=2, max_size=2),
    sizes=st.lists(st.tuples(side, side), min_size=4, max_size=12, unique=True),
)
def test_what_is_proposed_is_better_than_what_there_is(present, sizes):
    sizes = torch.tensor(sizes, dtype=torch.float64)
    setup = AnchorSetup([[size] for size in present], [8, 16])
    found = propose_anchors(sizes, setup, 2, generations=20)
    if found is not None:
        assert fit_of_levels(sizes, found).fitness > fit_of_levels(sizes, setup.levels).fitness


def test_a_seed_gives_the_same_anchors_again_and_another_seed_others():
    sizes = boxes_around(KNOWN, number=40, spread=0.5)
    present = AnchorSetup([[(10, 10)]] * 3, STRIDES)
    first, again, other = (
        propose_anchors(sizes, present, 9, generations=30, seed=seed) for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_small_anchors_go_to_the_finest_stride_wherever_it_stands():
    anchors = torch.tensor([[9, 9], [1, 2], [5, 5], [2, 3], [8, 8], [4, 4]])
    smallest, middle, largest = [(1, 2), (2, 3)], [(4, 4), (5, 5)], [(8, 8), (9, 9)]
    assert share_among_levels(anchors, [8, 16, 32]) == [smallest, middle, largest]
    assert share_among_levels(anchors, [32, 16, 8]) == [largest, middle, smallest]
    assert share_among_levels(anchors, [(16, 16), (32, 32), (8, 8)]) == [middle, largest, smallest]


def test_fewer_sizes_than_anchors_are_refused():
    sizes = torch.tensor([[10.0, 20]] * 5 + [[20.0, 20]], dtype=torch.float64)
    with pytest.raises(InputError, match='6 boxes of 2 different sizes are fewer than the 3'):
        cluster_anchors(sizes, 3)


def test_anchors_are_found_in_a_detector_and_in_a_distillers_student():
    head = dict(prior_generator=dict(base_sizes=KNOWN, strides=STRIDES))
    for model in (dict(bbox_head=head), dict(student=dict(bbox_head=head))):
        assert anchors_of_head(model) == AnchorSetup(KNOWN, STRIDES)


@pytest.mark.parametrize(
    ('generator', 'said'),
    [
        (dict(type='MlvlPointGenerator', strides=STRIDES), 'no anchors to fit'),
        (dict(base_sizes=[[(1, 2)], [(3, 4), (5, 6)]], strides=[8, 16]), 'equally many'),
        (dict(base_sizes=[4, 8], strides=[8, 16]), 'equally many'),
        (dict(base_sizes=[[(0, 2)]], strides=[8]), 'equally many'),
        (dict(base_sizes=KNOWN, strides=[8, 16]), 'anchors for 3 levels and strides'),
        (dict(base_sizes=KNOWN), 'anchors for 3 levels and strides None'),
    ],
)
def test_a_head_whose_anchors_cannot_be_fitted_is_refused(generator, said):
    with pytest.raises(InputError, match=said):
        anchors_of_head(dict(bbox_head=dict(prior_generator=generator)))
