"""Where a sampler repeats images, the critics' negatives are still of other images."""

from collections import Counter
from itertools import chain
from unittest.mock import patch

import pytest

from mmmuse.command_line.run import run, train
from mmmuse.distillers import SelfDistiller

from ..kills.runs import classification, loader, self_distiller


def batches_seen(tmp_path, model: dict, images: int = 24, **sampler) -> list[list[int]]:
    """Train for an epoch, and return the indices of the images in each step."""
    config = classification(model, train_cfg=dict(by_epoch=True, max_epochs=1, val_interval=1))
    config.train_dataloader = loader('train', images, per_sample=True)
    config.train_dataloader.update(sampler)
    config.work_dir = str(tmp_path)
    config.experiment_name = tmp_path.name
    seen, forward = [], SelfDistiller.forward

    def recorded(self, inputs, data_samples, mode):
        if mode == 'loss':
            seen.append([sample.sample_idx for sample in data_samples])
        return forward(self, inputs, data_samples, mode)

    with patch.object(SelfDistiller, 'forward', recorded):
        run(config, train)
    return seen


def neighbours(batch: list[int]) -> int:
    return sum(image == batch[i - 1] for i, image in enumerate(batch))


REPEATED = dict(type='RepeatAugSampler', shuffle=True)


def test_views_of_one_image_are_not_neighbours(tmp_path):
    seen = batches_seen(tmp_path, self_distiller(), sampler=REPEATED)
    assert sum(neighbours(batch) for batch in seen) == 0
    assert Counter(Counter(chain(*seen)).values()) == {3: 8}


def without_muse() -> dict:
    model = self_distiller()
    model['head'] = dict(type='mmmuse.MUSEHead')
    return model


def test_without_critics_the_order_is_that_of_the_sampler(tmp_path):
    seen = batches_seen(tmp_path, without_muse(), sampler=REPEATED)
    assert sum(neighbours(batch) for batch in seen) >= 12


@pytest.mark.slow
def test_pairs_of_one_class_stay_together(tmp_path):
    model = self_distiller()
    model['type'] = 'mmmuse.CSKDDistiller'
    model['taps'] = dict(model['taps'], logits='head')
    sampler = dict(type='mmmuse.ClassPairSampler')
    # An image is in a batch twice where it is the partner of another one.
    seen = batches_seen(tmp_path, model, 100, sampler=sampler, batch_size=100)
    assert any(len(set(batch)) < len(batch) for batch in seen)
