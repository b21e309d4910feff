"""Classes in a config are named as in any other config."""

import mmengine.dataset
import pytest
import torch
from mmcv.transforms import RandomFlip
from mmengine.config import Config
from mmpretrain.models import ImageClassifier

from mmmuse.checkpoints.registered_names import name_registered_types
from mmmuse.distillers import SelfDistiller
from mmmuse.metrics import ExitAccuracy
from mmmuse.optim import StudentConstructor


class OfThisTest:
    """A class that can be imported."""


Hidden = type('Hidden', (), {'__qualname__': 'no_function.<locals>.Hidden'})


@pytest.mark.parametrize(
    ('kind', 'expected'),
    [
        (SelfDistiller, 'mmmuse.SelfDistiller'),
        (ImageClassifier, 'mmpretrain.ImageClassifier'),
        (RandomFlip, 'mmengine.RandomFlip'),
        (mmengine.dataset.pseudo_collate, 'mmengine.pseudo_collate'),
        ('mmmuse.hooks.InformationLoggerHook', 'mmmuse.InformationLoggerHook'),
        ('mmmuse.hooks.information_logger.InformationLoggerHook', 'mmmuse.InformationLoggerHook'),
        ('mmmuse.InformationLoggerHook', 'mmmuse.InformationLoggerHook'),
        ('mmpretrain.models.NoSuchNetwork', 'mmpretrain.models.NoSuchNetwork'),
        ('os.path.join', 'os.path.join'),
        ('ResNet', 'ResNet'),
        (torch.optim.SGD, 'torch.optim.sgd.SGD'),
        (OfThisTest, f'{__name__}.OfThisTest'),
        (Hidden, Hidden),
        (None, None),
    ],
)
def test_a_registered_class_of_openmmlab_gets_its_name(kind, expected):
    part = dict(type=kind)
    name_registered_types(part)
    assert part['type'] == expected


def test_every_part_of_a_config_is_named():
    config = Config(
        dict(
            model=dict(type=SelfDistiller, student=dict(type=ImageClassifier)),
            val_evaluator=[dict(type=ExitAccuracy)],
            views=(dict(type=RandomFlip), 3),
            optim_wrapper=dict(constructor=StudentConstructor),
        )
    )
    name_registered_types(config)
    assert config.model == dict(
        type='mmmuse.SelfDistiller', student=dict(type='mmpretrain.ImageClassifier')
    )
    assert config.val_evaluator == [dict(type='mmmuse.ExitAccuracy')]
    assert config.views == (dict(type='mmengine.RandomFlip'), 3)
    assert config.optim_wrapper.constructor == 'mmmuse.StudentConstructor'


def test_an_import_whose_path_does_not_lead_back_is_dumped_as_it_is(tmp_path, monkeypatch):
    package = tmp_path / 'shadowing'
    package.mkdir()
    (package / 'nms.py').write_text('def nms(): pass\n')
    (package / '__init__.py').write_text('from .nms import nms\n')  # As in mmcv.ops.
    path = tmp_path / 'config.py'
    path.write_text('from shadowing import nms\nmodel = dict(nms=dict(type=nms))\n')
    monkeypatch.syspath_prepend(tmp_path)
    config = Config.fromfile(path)
    name_registered_types(config)
    assert Config.fromstring(config.pretty_text, '.py').model.nms.type == 'shadowing.nms'
