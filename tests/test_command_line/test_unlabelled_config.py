"""The config that ``mmmuse wrap --unlabelled`` writes."""

from pathlib import Path

import pytest
from mmengine.config import Config

from mmmuse.checkpoints.config_file import read_config
from mmmuse.checkpoints.network_config import packaged_config
from mmmuse.command_line.config import load_config
from mmmuse.command_line.unlabelled_config import unlabelled_config

DIGITS = str(Path(__file__).resolve().parents[2] / 'configs' / 'demo' / 'resnet18_digits.py')
CIFAR = Path(DIGITS).parents[1] / 'baselines' / 'resnet20_cifar100.py'
RETINANET = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'


@pytest.fixture
def written(tmp_path):
    """A function that writes the config of a student, and returns it as it was read."""
    (tmp_path / 'images').mkdir()

    def write(name: str, images: int = 40, **options) -> Config:
        for i in range(images):
            (tmp_path / 'images' / f'{i}.JPG').touch()
        config = packaged_config(name) if '::' in name else read_config(name)
        out = tmp_path / 'out.py'
        folder = str(tmp_path / 'images')
        text = unlabelled_config(name, config, DIGITS, 'teacher.pth', folder, out, **options)
        out.write_text(text, encoding='utf-8')
        return load_config(str(out), {})

    return write


def test_a_classifiers_size_normalisation_and_channels_are_kept(written, tmp_path):
    config = written(DIGITS)
    assert config.model.type == 'mmmuse.FeatureDistiller'
    assert set(config.model.student) == {'type', 'backbone'}
    assert config.model.student.backbone.type == 'ResNet_CIFAR'
    assert config.model.teacher.head.num_classes == 10
    assert config.model.teacher_checkpoint == 'teacher.pth'
    assert (config.data_preprocessor.mean, config.data_preprocessor['std']) == ([73.0], [90.0])
    split = config.train_dataloader.dataset
    assert split.dataset.data_root == str(tmp_path / 'images')
    load, views, _ = split.dataset.pipeline
    assert (load.color_type, load.unreadable) == ('grayscale', 'skip')
    assert views.num_views == [2]
    assert views.transforms[0][0].scale == 8
    held_out = config.val_dataloader.dataset
    assert (held_out.test_mode, held_out.fold if 'fold' in held_out else 0) == (True, 0)
    assert (held_out.num_splits, held_out.seed) == (split.num_splits, split.seed)
    assert held_out.dataset.pipeline[1].scale == (8, 8)


def test_files_are_read_as_rgb_where_the_config_has_arrays_of_rgb(written):
    config = written(str(CIFAR))
    assert config.data_preprocessor.to_rgb is True
    assert config.data_preprocessor.mean[0] > config.data_preprocessor.mean[2]


def test_the_backbone_of_a_detector_is_the_student(written):
    config = written(RETINANET)
    backbone = config.model.student.backbone
    assert (backbone.type, backbone['_scope_'], backbone.depth) == ('ResNet', 'mmdet', 50)
    assert (backbone.frozen_stages, backbone.norm_eval) == (-1, False)
    preprocessor = config.data_preprocessor
    assert (preprocessor.type, preprocessor.to_rgb) == ('SelfSupDataPreprocessor', True)
    assert preprocessor.mean == [123.675, 116.28, 103.53]
    assert config.train_dataloader.dataset.dataset.pipeline[1].transforms[0][0].scale == 224
    # Files are loaded as BGR: a teacher sees the order of its own training.
    assert config.model.image_order == 'bgr'


def test_few_images_are_all_trained_on(written):
    config = written(DIGITS, images=39)
    assert config.train_dataloader.dataset.type == 'CustomDataset'
    assert config.train_dataloader.batch_size == 9
    assert config.get('val_dataloader') is None


def test_an_image_shape_that_is_given_is_used(written):
    config = written(DIGITS, input_shape=(3, 48, 48))
    load, views, _ = config.train_dataloader.dataset.dataset.pipeline
    assert 'color_type' not in load
    assert views.transforms[0][0].scale == 48
