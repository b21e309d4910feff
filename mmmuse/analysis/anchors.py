"""The fit of anchors to the boxes of a data set, and a search for better anchors."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from mmmuse.errors import InputError

Levels = list[list[tuple[float, float]]]

# Mutation: probability that a side changes, and standard deviation of the logarithm of its factor.
_CHANGED, _DEVIATION = 0.1, 0.1


class AnchorFit(NamedTuple):
    """How anchors fit boxes.

    Attributes:
        recall: Best possible recall, the share of boxes that match at least one anchor.
        fitness: Mean over boxes of the best fit, 0 for a box that matches none.
        anchors_per_box: Mean number of anchors that a box matches.
        boxes_of_levels: For each level, how many boxes match at least one of its anchors.
    """

    recall: float
    fitness: float
    anchors_per_box: float
    boxes_of_levels: list[int]


class AnchorSetup(NamedTuple):
    """The anchors of a detector's head.

    Attributes:
        levels: Widths and heights in pixels, level by level.
        strides: Of the levels.
        key: Of the anchors in the head's config.
    """

    levels: Levels
    strides: list
    key: str = 'prior_generator'


def fit_of_levels(sizes: Tensor, levels: Levels, threshold: float = 4.0) -> AnchorFit:
    r"""Return the fit of a head's anchors to boxes.

    The fit of a box of size :math:`(w, h)` to an anchor :math:`(a_w, a_h)` is

    .. math::
        f = \min\bigl(\min(r_w, 1 / r_w), \min(r_h, 1 / r_h)\bigr), \quad
        r_w = w / a_w, \; r_h = h / a_h

    A YOLOv5 head matches them if the sides differ by less than a factor t, the threshold, that
    is if :math:`f > 1 / t`.

    Args:
        sizes: Widths and heights of boxes ``(N, 2)``.
        levels: Widths and heights of the anchors, level by level.
        threshold: t.

    Example:
        >>> fit_of_levels(torch.tensor([[10.0, 30.0]]), [[(20, 20)], [(10, 150)]])
        AnchorFit(recall=1.0, fitness=0.5, anchors_per_box=1.0, boxes_of_levels=[1, 0])
    """
    anchors = [anchor for level in levels for anchor in level]
    fits = _fits(sizes, torch.tensor(anchors, dtype=torch.float64))
    matched = fits > 1 / threshold
    per_level = [part.any(1) for part in matched.split([len(level) for level in levels], dim=1)]
    return AnchorFit(
        recall=matched.any(1).double().mean().item(),
        fitness=_mean_fitness(fits, threshold),
        anchors_per_box=matched.sum(1).double().mean().item(),
        boxes_of_levels=[int(part.sum()) for part in per_level],
    )


def _fits(sizes: Tensor, anchors: Tensor) -> Tensor:
    """Return the fit of every box to every anchor, ``(N, K)``, between 0 and 1."""
    ratio = sizes[:, None] / anchors
    return torch.minimum(ratio, 1 / ratio).amin(-1)


def _mean_fitness(fits: Tensor, threshold: float) -> float:
    """Return the mean over boxes of the best fit, 0 for a box that matches no anchor."""
    best = fits.amax(1)
    return torch.where(best > 1 / threshold, best, 0.0).mean().item()


def cluster_anchors(sizes: Tensor, num_anchors: int, seed: int = 0) -> Tensor:
    """Return the centres of a k-means clustering of the boxes, in whole pixels.

    It runs on the logarithms of the sides, as the fit is one of ratios.

    Args:
        sizes: Widths and heights of boxes ``(N, 2)``.
        num_anchors: K.
        seed: Of the first centres.

    Returns:
        ``(K, 2)``.

    Raises:
        InputError: If there are fewer boxes of different sizes than anchors.
    """
    different = len(sizes.unique(dim=0))
    if different < num_anchors:
        raise InputError(
            f'{len(sizes)} boxes of {different} different sizes are fewer than the '
            f'{num_anchors} anchors asked for'
        )
    from sklearn.cluster import KMeans  # Slow to import, and needed here only.

    clusters = KMeans(num_anchors, n_init=4, random_state=seed).fit(sizes.log().numpy())
    # Rounding also hides the differences in summation order between threads.
    return _whole_pixels(torch.from_numpy(clusters.cluster_centers_).exp())


def refine_anchors(
    sizes: Tensor,
    anchors: Tensor,
    threshold: float = 4.0,
    generations: int = 1000,
    seed: int = 0,
    track: Callable[[range], Iterable[int]] = iter,
) -> Tensor:
    """Return anchors of at least the same fitness, by random mutation.

    In each generation some sides are multiplied by log-normal factors and rounded to
    pixels; the result is kept if the fitness increases.

    Args:
        sizes: Widths and heights of boxes ``(N, 2)``.
        anchors: Widths and heights of anchors ``(K, 2)``.
        threshold: See :func:`fit_of_levels`.
        generations: Number of mutations.
        seed: Of the mutations.
        track: Iterates over the generations, and may show its progress.

    Returns:
        ``(K, 2)``.
    """
    generator = torch.Generator().manual_seed(seed)
    fits = _fits(sizes, anchors)
    best = _mean_fitness(fits, threshold)
    for _ in track(range(generations)):
        changed = torch.rand(anchors.shape, generator=generator) < _CHANGED
        exponents = _DEVIATION * torch.randn(anchors.shape, generator=generator)
        mutated = _whole_pixels(anchors * (exponents * changed).double().exp())
        moved = (mutated != anchors).any(1)
        new_fits = fits.clone()
        new_fits[:, moved] = _fits(sizes, mutated[moved])
        fitness = _mean_fitness(new_fits, threshold)
        if fitness > best:
            anchors, fits, best = mutated, new_fits, fitness
    return anchors


def share_among_levels(anchors: Tensor, strides: list) -> Levels:
    """Sort anchors by area and give each level the same number, the finest stride the smallest.

    Args:
        anchors: Widths and heights ``(K, 2)``; K is divisible by the number of levels.
        strides: Of the levels, in their order.

    Example:
        >>> share_among_levels(torch.tensor([[9.0, 9.0], [2.0, 3.0]]), [16, 8])
        [[(9, 9)], [(2, 3)]]
    """
    by_area = sorted((tuple(map(round, anchor)) for anchor in anchors.tolist()), key=math.prod)
    per_level = len(by_area) // len(strides)
    finest_first = sorted(range(len(strides)), key=lambda i: strides[i])
    return [
        by_area[rank * per_level : (rank + 1) * per_level]
        for rank in map(finest_first.index, range(len(strides)))
    ]


def propose_anchors(
    sizes: Tensor,
    present: AnchorSetup,
    num_anchors: int,
    threshold: float = 4.0,
    generations: int = 1000,
    seed: int = 0,
    track: Callable[[range], Iterable[int]] = iter,
) -> Levels | None:
    """Return anchors of higher fitness than the present ones: k-means, then mutation.

    Args:
        sizes: Widths and heights of boxes ``(N, 2)``.
        present: The anchors that the head has.
        num_anchors: K, divisible by the number of levels.
        threshold: See :func:`fit_of_levels`.
        generations: Number of mutations.
        seed: Of both.
        track: Iterates over the mutations, and may show its progress.

    Returns:
        Widths and heights in pixels, level by level; None if no fitness was higher.

    Raises:
        InputError: If there are fewer boxes of different sizes than anchors.
    """
    anchors = cluster_anchors(sizes, num_anchors, seed)
    anchors = refine_anchors(sizes, anchors, threshold, generations, seed, track)
    levels = share_among_levels(anchors, present.strides)
    fitness = [fit_of_levels(sizes, each, threshold).fitness for each in (levels, present.levels)]
    return levels if fitness[0] > fitness[1] else None


def anchors_of_head(model: dict) -> AnchorSetup:
    """Return the anchors in the config of a detector, or of a distiller's student.

    Args:
        model: With ``bbox_head.prior_generator.base_sizes``, or a distiller whose ``student``
            has it; some heads of mmdet have an ``anchor_generator`` instead.

    Raises:
        InputError: If its head has no such anchors, or the sizes are not positive, or the
            number of anchors differs between strides.
    """
    for detector in (model, model.get('student')):
        head = detector.get('bbox_head') if isinstance(detector, dict) else None
        for key in ('prior_generator', 'anchor_generator'):
            generator = head.get(key) if isinstance(head, dict) else None
            if isinstance(generator, dict) and generator.get('base_sizes'):
                return AnchorSetup(*_checked_anchors(generator), key)
    raise InputError(
        'the model has no bbox_head with prior_generator.base_sizes: its head has no anchors to fit'
    )


def _checked_anchors(generator: dict) -> tuple[Levels, list]:
    base_sizes, strides = generator['base_sizes'], generator.get('strides')
    try:
        anchors = torch.tensor(base_sizes, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        anchors = torch.zeros(0)
    if not (
        anchors.ndim == 3 and anchors.shape[2] == 2 and anchors.numel() and anchors.gt(0).all()
    ):
        raise InputError(
            'base_sizes of anchors is a list for each level of equally many (width, height), '
            f'got {base_sizes}'
        )
    if not isinstance(strides, (list, tuple)) or len(strides) != len(base_sizes):
        raise InputError(
            f'anchors for {len(base_sizes)} levels and strides {strides}: one stride a level is needed'
        )
    return [[tuple(size) for size in level] for level in base_sizes], list(strides)


def _whole_pixels(anchors: Tensor) -> Tensor:
    return anchors.round().clamp(min=1)
