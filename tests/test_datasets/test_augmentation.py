"""The crops and flips: exactly mmpretrain's for a given draw, and in the same distribution."""

import numpy as np
import pytest
import torch
from mmpretrain.registry import TRANSFORMS
from scipy.stats import chi2_contingency, chisquare

from mmmuse.datasets.preprocessor import BatchedDataPreprocessor, crop_and_flip, uniform_draws

NUM_OUTCOMES = 9 * 9 * 2


def all_outcomes() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """First row, first column and flip of each of the 162 outcomes of padding 4."""
    rows, columns, flips = torch.meshgrid(
        torch.arange(9), torch.arange(9), torch.arange(2), indexing='ij'
    )
    return rows.flatten(), columns.flatten(), flips.flatten().bool()


def position_image() -> np.ndarray:
    """Channels hold row + 1 and column + 1, shape (32, 32, 3)."""
    rows, columns = np.mgrid[1:33, 1:33]
    return np.stack([rows, columns, rows], -1).astype(np.uint8)


def decode(images: np.ndarray) -> np.ndarray:
    """Read from crops of the position image, (N, 3, 32, 32), which outcome each is."""
    images = images.astype(int)
    flipped = images[:, 1, 16, 16] < images[:, 1, 16, 15]
    first_row = images[:, 0, 16, 16] - 1 - 16 + 4
    first_column = np.where(flipped, images[:, 1, 16, 15], images[:, 1, 16, 16]) - 1 - 16 + 4
    return (first_row * 9 + first_column) * 2 + flipped


def crop_by_hand(image: np.ndarray, padding: int, row: int, column: int, flip: bool) -> np.ndarray:
    """One image, one pixel at a time."""
    _, height, width = image.shape
    crop = np.zeros_like(image)
    for i in range(height):
        for j in range(width):
            y = row + i - padding
            x = column + (width - 1 - j if flip else j) - padding
            if 0 <= y < height and 0 <= x < width:
                crop[:, i, j] = image[:, y, x]
    return crop


def test_the_crop_of_a_tiny_image_is_as_written_out_by_hand():
    image = torch.tensor([[[[1, 2, 3], [4, 5, 6]]]]).expand(4, -1, -1, -1)
    crops = crop_and_flip(
        image,
        1,
        rows=torch.tensor([1, 0, 2, 2]),
        columns=torch.tensor([1, 0, 1, 2]),
        flips=torch.tensor([False, False, True, True]),
    )
    assert crops[:, 0].tolist() == [
        [[1, 2, 3], [4, 5, 6]],
        [[0, 0, 0], [0, 1, 2]],
        [[6, 5, 4], [0, 0, 0]],
        [[0, 6, 5], [0, 0, 0]],
    ]


def test_every_outcome_equals_mmpretrains_random_crop_and_flip(monkeypatch):
    rows, columns, flips = all_outcomes()
    images = torch.randint(1, 256, (NUM_OUTCOMES, 3, 32, 32), dtype=torch.uint8)
    ours = crop_and_flip(images, 4, rows, columns, flips)
    crop = TRANSFORMS.build(dict(type='RandomCrop', crop_size=32, padding=4))
    for image, cropped, row, column, flipped in zip(
        images.numpy(), ours.numpy(), rows.tolist(), columns.tolist(), flips.tolist()
    ):
        monkeypatch.setattr(crop, 'rand_crop_params', lambda _, at=(row, column): (*at, 32, 32))
        flip = TRANSFORMS.build(dict(type='RandomFlip', prob=float(flipped)))
        theirs = flip(crop(dict(img=image.transpose(1, 2, 0))))['img']
        assert np.array_equal(cropped.transpose(1, 2, 0), theirs)


@pytest.mark.parametrize('padding', [0, 1, 3])
@pytest.mark.parametrize('shape', [(1, 5, 5), (3, 4, 7), (2, 6, 3)])
def test_any_size_is_cropped_as_one_pixel_at_a_time(padding, shape):
    images = torch.randint(1, 256, (20, *shape), dtype=torch.uint8)
    rows, columns = torch.randint(0, 2 * padding + 1, (2, 20))
    flips = torch.rand(20) < 0.5
    expected = [
        crop_by_hand(image, padding, row, column, flip)
        for image, row, column, flip in zip(
            images.numpy(), rows.tolist(), columns.tolist(), flips.tolist()
        )
    ]
    assert np.array_equal(crop_and_flip(images, padding, rows, columns, flips), expected)


@pytest.mark.parametrize('dtype', [torch.float32, torch.int64])
def test_type_and_memory_layout_do_not_change_the_crop(dtype):
    rows, columns, flips = (draw[::20] for draw in all_outcomes())
    images = torch.randint(1, 256, (len(rows), 3, 32, 32), dtype=torch.uint8)
    expected = crop_and_flip(images, 4, rows, columns, flips)
    laid_out = images.to(dtype).contiguous(memory_format=torch.channels_last)
    crops = crop_and_flip(laid_out, 4, rows, columns, flips)
    assert crops.dtype == dtype
    assert torch.equal(crops, expected.to(dtype))


def test_the_cropped_images_are_left_as_they_were():
    rows, columns, flips = all_outcomes()
    images = torch.randint(1, 256, (NUM_OUTCOMES, 3, 32, 32), dtype=torch.uint8)
    before = images.clone()
    crop_and_flip(images, 4, rows, columns, flips)
    assert torch.equal(images, before)


def our_outcomes(hub, num_epochs: int, num_images: int) -> np.ndarray:
    """Return the outcome of each (epoch, image), read from the augmented pixels."""
    image = torch.from_numpy(position_image()).permute(2, 0, 1)
    batch = dict(
        inputs=image.expand(num_images, -1, -1, -1),
        gt_label=torch.zeros(num_images).long(),
        sample_idx=torch.arange(num_images),
        num_samples=num_images,
    )
    preprocessor = BatchedDataPreprocessor(crop_padding=4, flip_prob=0.5)
    outcomes = []
    for epoch in range(num_epochs):
        hub.update_info('epoch', epoch)
        outcomes.append(decode(preprocessor(batch, training=True)['inputs'].numpy()))
    return np.stack(outcomes)


def test_outcomes_are_uniform_over_epochs_and_images(hub):
    outcomes = our_outcomes(hub, num_epochs=40, num_images=500)
    assert chisquare(np.bincount(outcomes.ravel(), minlength=NUM_OUTCOMES)).pvalue > 0.01
    one_image = our_outcomes(hub, num_epochs=1620, num_images=1)
    assert chisquare(np.bincount(one_image.ravel(), minlength=NUM_OUTCOMES)).pvalue > 0.01


def test_outcomes_are_distributed_as_those_of_mmpretrains_pipeline(hub):
    np.random.seed(0)
    crop = TRANSFORMS.build(dict(type='RandomCrop', crop_size=32, padding=4))
    flip = TRANSFORMS.build(dict(type='RandomFlip', prob=0.5, direction='horizontal'))
    theirs = decode(
        np.stack(
            [flip(crop(dict(img=position_image())))['img'].transpose(2, 0, 1) for _ in range(5000)]
        )
    )
    ours = our_outcomes(hub, num_epochs=10, num_images=500).ravel()
    counts = np.stack(
        [np.bincount(outcomes, minlength=NUM_OUTCOMES) for outcomes in (ours, theirs)]
    )
    assert counts.shape == (2, NUM_OUTCOMES)
    assert chi2_contingency(counts).pvalue > 0.01


def test_draws_of_neighbouring_epochs_images_and_kinds_are_uncorrelated():
    draws = np.stack([uniform_draws(0, epoch, np.arange(2000), 3) for epoch in range(20)])
    for first, second in (
        (draws[1:], draws[:-1]),
        (draws[..., 1:], draws[..., :-1]),
        (draws[:, 1:], draws[:, :-1]),
    ):
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.01
    assert draws.min() >= 0
    assert draws.max() < 1


def test_runs_of_different_seeds_share_no_epoch():
    runs = {
        (seed, epoch): tuple(uniform_draws(seed, epoch, np.arange(4), 1)[0])
        for seed in range(16)
        for epoch in range(16)
    }
    assert len(set(runs.values())) == 256


@pytest.mark.parametrize(('seed', 'epoch'), [(0, 0), (1, 3), (-1, 7), (2**63 + 5, 199), (3, -2)])
def test_draws_are_the_published_splitmix64_chained_over_their_keys(seed, epoch):
    def splitmix64(state: int) -> int:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
        return state ^ state >> 31

    # First two outputs of the authors' splitmix64.c from the state 1234567.
    assert splitmix64(1234567) == 6457827717110365317
    assert splitmix64(1234567 + 0x9E3779B97F4A7C15) == 3203168211198807973
    draws = uniform_draws(seed, epoch, np.array([0, 5, 49999]), 3)
    for i, index in enumerate((0, 5, 49999)):
        for k in range(3):
            state = 0
            for word in (seed % 2**64, epoch % 2**64, index, k):
                state = splitmix64(state ^ word)
            assert draws[k, i] == (state >> 11) / 2**53
