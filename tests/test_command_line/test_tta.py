"""The config of a test with test-time augmentation, and that accepted keys are read."""

import inspect

import pytest
from mmengine.config import Config
from mmengine.config import config as mmengine_config
from mmengine.runner import runner as mmengine_runner

from mmmuse.checkpoints import runner_keys as our_keys
from mmmuse.command_line import tta
from mmmuse.errors import InputError

LOAD, PACK = dict(type='LoadImageFromFile'), dict(type='PackInputs')
FLIPS = [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)]


def config(model: str = 'mmmuse.SelfDistiller', pipeline: tuple = (LOAD, PACK), **more) -> Config:
    dataset = dict(type='CustomDataset', pipeline=list(pipeline))
    return Config(dict(model=dict(type=model), test_dataloader=dict(dataset=dataset), **more))


def test_without_keys_an_image_and_its_mirror_image_are_averaged():
    found = config()
    tta.apply_test_time_augmentation(found)
    assert found.test_dataloader.dataset.pipeline == [
        LOAD,
        dict(type='TestTimeAug', transforms=[FLIPS, [PACK]]),
    ]
    average = dict(type='mmpretrain.AverageClsScoreTTA')
    assert found.model.type == 'mmmuse.MergedExits'
    assert found.model.tta_model == average
    assert found.model.module == dict(type='mmmuse.SelfDistiller')


def test_a_plain_model_is_wrapped_as_by_mmpretrain():
    found = config('ImageClassifier')
    tta.apply_test_time_augmentation(found)
    assert found.model == dict(
        type='mmpretrain.AverageClsScoreTTA', module=dict(type='ImageClassifier')
    )


def test_the_keys_of_the_config_are_used():
    keys = dict(tta_model=dict(type='Own', weight=2), tta_pipeline=[PACK])
    found = config('ImageClassifier', **keys)
    tta.apply_test_time_augmentation(found)
    assert found.model == dict(type='Own', weight=2, module=dict(type='ImageClassifier'))
    assert found.test_dataloader.dataset.pipeline == [PACK]


def test_detectors_suppress_the_boxes_of_both_images():
    found = config(default_scope='mmdet')
    tta.apply_test_time_augmentation(found)
    assert found.model.tta_model.type == 'mmdet.DetTTAModel'
    (pack,) = found.test_dataloader.dataset.pipeline[-1].transforms[-1]
    assert pack.type == 'PackDetInputs'
    assert {'flip', 'flip_direction', 'ori_shape'} < set(pack.meta_keys)


def test_the_pipeline_is_that_of_the_innermost_data_set():
    found = config()
    found.test_dataloader.dataset = dict(type='Subset', dataset=found.test_dataloader.dataset)
    tta.apply_test_time_augmentation(found)
    assert found.test_dataloader.dataset.dataset.pipeline[-1].type == 'TestTimeAug'


def test_data_without_a_pipeline_are_refused():
    with pytest.raises(InputError, match='the data set CustomDataset has none'):
        tta.apply_test_time_augmentation(config(pipeline=()))


def test_early_exits_are_refused():
    with pytest.raises(InputError, match='views of an image may take different exits'):
        tta.apply_test_time_augmentation(config('mmmuse.EarlyExitClassifier'))


@pytest.mark.parametrize('key', sorted(our_keys.OTHER_KEYS))
def test_every_accepted_key_is_read(key):
    readers = (mmengine_runner, mmengine_config, tta, our_keys.runner_keys)
    text = ''.join(map(inspect.getsource, readers))
    assert f"'{key}'" in text or f'cfg.{key}' in text


def test_masks_of_a_segmenters_data_are_loaded_after_the_flips():
    load = dict(type='LoadAnnotations')
    found = config(default_scope='mmseg', pipeline=(dict(type='Resize'), load, PACK))
    tta.apply_test_time_augmentation(found)
    assert found.model.tta_model.type == 'mmseg.SegTTAModel'
    first, augmented = found.test_dataloader.dataset.pipeline
    assert first.type == 'Resize'
    assert [step.type for steps in augmented.transforms for step in steps] == [
        *('RandomFlip', 'RandomFlip', 'LoadAnnotations', PACK['type'])
    ]


def test_early_exits_of_a_segmenter_are_refused():
    with pytest.raises(InputError, match=r'model\.type=mmmuse\.SegmentationSelfDistiller'):
        tta.apply_test_time_augmentation(config('mmmuse.EarlyExitSegmenter'))
