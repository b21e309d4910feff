"""The plain config beside the checkpoints of a distilled run."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmmuse.checkpoints.student_config import is_student_config, student_configs
from mmmuse.command_line.config import load_config
from mmmuse.registry import HOOKS, METRICS, MODELS

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
CLASSIFIER = dict(type='ImageClassifier', backbone=dict(type='ResNet_CIFAR', depth=18))


def plain(config: dict, name: str = 'student.py') -> Config:
    return Config.fromstring(
        student_configs(config if isinstance(config, Config) else Config(config))[name], '.py'
    )


def distilled(**changes) -> dict:
    return dict(model=dict(type='mmmuse.SelfDistiller', student=CLASSIFIER), **changes)


@pytest.mark.parametrize(
    'name',
    [
        'muse/resnet18_cifar100_mi_x_si.py',
        'demo/resnet18_digits_mi_x_si.py',
        'detection/yolov5_s_coco_mi_x_si.py',
    ],
)
def test_the_student_of_a_shipped_config_is_its_baseline(name):
    config = load_config(str(CONFIGS / name), {})
    texts = student_configs(config)
    assert set(texts) == {'student.py'}
    found = Config.fromstring(texts['student.py'], '.py')
    expected = dict(config.model.student.to_dict())
    model = found.model.to_dict()
    for part in ('backbone', 'neck', 'head', 'bbox_head'):
        assert model.get(part) == expected.get(part)
    assert found.train_cfg == config.train_cfg
    assert found.optim_wrapper.optimizer == config.optim_wrapper.optimizer
    hooks = [*found.get('custom_hooks', []), *found.default_hooks.values()]
    assert [hook.type for hook in hooks if hook.type.startswith('mmmuse.')] == []
    for split in ('val', 'test'):
        evaluators = found[f'{split}_evaluator']
        evaluators = [evaluators] if isinstance(evaluators, dict) else evaluators
        assert [e.type for e in evaluators if e.type.startswith('mmmuse.')] == []


def test_a_cifar_run_needs_no_part_of_mmmuse():
    config = load_config(str(CONFIGS / 'muse' / 'resnet18_cifar100_mi_x_si.py'), {})
    found = plain(config)
    assert 'mmmuse.' not in found.pretty_text
    assert found.test_dataloader.dataset.type == 'CIFAR100'
    assert found.test_dataloader.dataset.pipeline[-1].type == 'PackInputs'
    assert found.model.data_preprocessor.mean == config.data_preprocessor.mean


def test_a_student_needs_neither_hooks_nor_metrics_of_mmmuse():
    own = {f'mmmuse.{name}' for kind in (HOOKS, METRICS) for name in kind.module_dict}
    for path in sorted(CONFIGS.glob('*/*.py')):
        config = load_config(str(path), {})
        if str(config.get('model', {}).get('type')).startswith('mmmuse.'):
            for text in student_configs(config).values():
                named = set(re.findall(r"'(mmmuse\.\w+)'", text))
                assert not named & own, path


def test_each_peer_has_a_config_and_the_first_is_the_student():
    small = dict(CLASSIFIER, backbone=dict(type='ResNet_CIFAR', depth=34))
    peers = [dict(name='a', model=CLASSIFIER, taps={}), dict(name='b', model=small, taps={})]
    config = Config(dict(model=dict(type='mmmuse.OnlineDistiller', peers=peers)))
    texts = student_configs(config)
    assert set(texts) == {'student.py', 'student.a.py', 'student.b.py'}
    depths = {
        name: Config.fromstring(text, '.py').model.backbone.depth for name, text in texts.items()
    }
    assert depths == {'student.py': 18, 'student.a.py': 18, 'student.b.py': 34}


def test_the_files_of_a_run_are_known_from_those_of_a_user():
    peers = [dict(name='a', model=CLASSIFIER), dict(name='b', model=CLASSIFIER)]
    of_features = dict(type='mmmuse.FeatureDistiller', student=dict(type='mmpretrain.ResNet'))
    models = [distilled()['model'], dict(type='mmmuse.OnlineDistiller', peers=peers), of_features]
    texts = [
        text for model in models for text in student_configs(Config(dict(model=model))).values()
    ]
    assert len(texts) == 5
    assert all(is_student_config(text.encode()) for text in texts)
    assert not is_student_config(b'# The student as a plain config of mine')
    assert not is_student_config(b'')


def test_built_networks_have_none():
    assert student_configs(Config()) == {}
    assert student_configs(Config(dict(model=dict(type='mmmuse.SelfDistiller')))) == {}


def test_the_run_is_left_out():
    config = distilled(
        work_dir='a',
        launcher='none',
        load_from='b.pth',
        resume=True,
        default_scope='mmpretrain',
        pipeline=[],  # A variable of the config's text.
    )
    assert set(plain(config)) == {'model', 'default_scope'}


def test_the_preprocessor_is_in_the_model_wherever_it_was():
    own = dict(type='ClsDataPreprocessor', mean=[1.0])
    for config in (
        distilled(data_preprocessor=own),
        dict(model=dict(type='x', student=CLASSIFIER, data_preprocessor=own)),
        dict(model=dict(type='x', student=dict(CLASSIFIER, data_preprocessor=own))),
    ):
        assert plain(config).model.data_preprocessor == own


@pytest.mark.parametrize(
    ('evaluator', 'expected'),
    [
        ([dict(type='Accuracy'), dict(type='mmmuse.ExitAccuracy')], [dict(type='Accuracy')]),
        (dict(type='mmmuse.ExitAccuracy', topk=(1, 5)), [dict(type='Accuracy', topk=(1, 5))]),
        (dict(type='mmmuse.PeerMetric', metric=dict(type='Accuracy')), [dict(type='Accuracy')]),
        (
            [dict(type='mmmuse.ZeroCocoMetric', ann_file='a.json')],
            [dict(type='mmdet.CocoMetric', ann_file='a.json')],
        ),
        (
            [
                dict(type='mmmuse.metrics.ExitAccuracy'),
                dict(type='mmmuse.segmentation.ClassIoUMetric', iou_metrics=['mIoU']),
                dict(type='mmmuse.ExitSegmentationMetric', metric=dict(type='IoUMetric')),
            ],
            [dict(type='mmseg.IoUMetric', iou_metrics=['mIoU'])],
        ),
        (
            dict(type='mmmuse.ExitMetric', metric=[dict(type='AveragePrecision')]),
            [dict(type='AveragePrecision')],
        ),
    ],
)
def test_the_evaluator_is_the_students(evaluator, expected):
    assert plain(distilled(val_evaluator=evaluator)).val_evaluator == expected


def test_hooks_and_options_are_those_of_a_plain_run():
    config = distilled(
        default_hooks=dict(
            checkpoint=dict(type='mmmuse.SafeCheckpointHook', interval=2),
            information=dict(type='mmmuse.InformationLoggerHook'),
        ),
        custom_hooks=[dict(type='EMAHook'), dict(type='mmmuse.ChannelsLastHook')],
        activation_checkpointing='student.backbone.layer1',
        optim_wrapper=dict(type='mmmuse.BFloat16OptimWrapper'),
        train_dataloader=dict(sampler=dict(type='mmmuse.ClassPairSampler', seed=1)),
    )
    found = plain(config)
    assert found.default_hooks == dict(checkpoint=dict(type='CheckpointHook', interval=2))
    assert found.custom_hooks == [dict(type='EMAHook')]
    assert found.activation_checkpointing == ['backbone.layer1']
    assert found.optim_wrapper == dict(type='AmpOptimWrapper', dtype='bfloat16')
    assert found.train_dataloader.sampler == dict(type='DefaultSampler', shuffle=True)


def test_transforms_that_check_images_are_the_libraries():
    transforms = [dict(type='mmmuse.LoadCheckedImage', unreadable='skip', to_float32=True)]
    found = plain(distilled(test_dataloader=dict(dataset=dict(pipeline=transforms))))
    assert found.test_dataloader.dataset.pipeline == [
        dict(type='LoadImageFromFile', to_float32=True)
    ]


def test_a_class_is_written_as_its_name_or_else_as_its_path():
    student = dict(CLASSIFIER, type=MODELS.get('mmpretrain.ImageClassifier'))
    wrapper = dict(optimizer=dict(type=torch.optim.SGD, lr=0.1))
    found = plain(distilled(optim_wrapper=wrapper) | dict(model=dict(type='x', student=student)))
    assert found.model.type == 'mmpretrain.ImageClassifier'
    assert found.optim_wrapper.optimizer.type == 'torch.optim.sgd.SGD'


def test_the_optimizer_has_the_constructor_of_the_plain_network():
    paramwise = dict(decay_rate=0.7, student_constructor='LearningRateDecayOptimizerConstructor')
    wrapper = dict(
        optimizer=dict(type='AdamW', lr=1e-4),
        constructor='mmmuse.StudentConstructor',
        paramwise_cfg=paramwise,
    )
    found = plain(distilled(optim_wrapper=wrapper)).optim_wrapper
    assert found.constructor == 'LearningRateDecayOptimizerConstructor'
    assert found.paramwise_cfg == dict(decay_rate=0.7)


def test_keys_that_the_runner_reads_beside_its_arguments_stay():
    wrapper = dict(type='MMDistributedDataParallel', static_graph=True)
    assert plain(distilled(model_wrapper_cfg=wrapper)).model_wrapper_cfg == wrapper


def test_classes_of_a_network_in_a_file_are_named(tmp_path):
    path = tmp_path / 'network.py'
    path.write_text(
        'from mmpretrain.models import ImageClassifier\nmodel = dict(type=ImageClassifier)\n'
    )
    assert plain(dict(model=dict(type='x', student=str(path)))).model.type == (
        'mmpretrain.ImageClassifier'
    )
