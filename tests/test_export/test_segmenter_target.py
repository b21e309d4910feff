"""The images that int8 of a segmenter is calibrated on."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('mmseg')

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.models import SegDataPreProcessor

from mmmuse.export.segmenter_target import SegmenterTarget

LOADED = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]


def data_set(folder, values: list[int], pipeline: list) -> dict:
    folder.mkdir(parents=True)
    for value in values:
        Image.fromarray(np.full((4, 6, 3), value, np.uint8)).save(folder / f'{value}.png')
    return dict(
        type='BaseSegDataset',
        data_prefix=dict(img_path=str(folder)),
        img_suffix='.png',
        pipeline=pipeline,
    )


def test_wrapped_training_images_are_read_as_those_of_a_wrapped_test_set(tmp_path):
    init_default_scope('mmseg')
    own = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    train = [
        data_set(tmp_path / name, values, own) for name, values in dict(a=[1], b=[2, 3]).items()
    ]
    test = data_set(tmp_path / 'test', [9], LOADED)
    target = SimpleNamespace(
        config=Config(
            dict(
                train_dataloader=dict(
                    batch_size=2,
                    sampler=dict(type='DefaultSampler', shuffle=False),
                    dataset=dict(type='ConcatDataset', datasets=train),
                ),
                test_dataloader=dict(dataset=dict(type='RepeatDataset', times=2, dataset=test)),
            )
        ),
        trained=SimpleNamespace(data_preprocessor=SegDataPreProcessor()),
        _file_shape=lambda shape, evaluates: shape,
    )
    images = [each for each, _ in SegmenterTarget.calibration_images(target, (3, 4, 6))]
    assert [each.shape for each in images] == [torch.Size((1, 3, 4, 6))] * 3
    assert [each.unique().tolist() for each in images] == [[1], [2], [3]]
