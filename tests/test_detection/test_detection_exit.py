"""Exits of detectors: a second neck and head after a module."""

from copy import deepcopy
from functools import cache

import pytest
import torch
from mmdet.evaluation import CocoMetric
from mmdet.structures import DetDataSample
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.runner.activation_checkpointing import turn_on_activation_checkpointing
from mmengine.structures import InstanceData
from torch import Tensor

from mmmuse.checkpoints.state_dicts import with_plain_names
from mmmuse.command_line.config import load_config
from mmmuse.detection import DetectionExit, DetectionSelfDistiller, ExitDetectionMetric
from mmmuse.errors import InputError
from mmmuse.registry import MODELS

from ..conftest import as_trained
from .test_detectors import (
    CLASSES,
    EXAMPLES,
    MUSE,
    SIZE,
    assert_same_boxes,
    batch,
    detector,
    example,
    losses_of,
    predictions_of,
    without_gradient,
)

YOLOV5 = EXAMPLES.parent / 'detection' / 'yolov5_s_coco_mi_x_si.py'
# Maps of the backbone that an exit reads before its own, by the exit's number.
REACHED = {'retinanet_r50': {1: 2, 2: 3}, 'yolov5_s': {1: 2}}
EXITS = [(name, number) for name, reached in REACHED.items() for number in reached]


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@cache
def yolov5() -> Config:
    """The shipped config, an eighth as wide, with 3 classes."""
    config = load_config(str(YOLOV5), {})
    widths = [32, 64, 128]
    config.merge_from_dict(
        {
            'model.student.backbone.widen_factor': 0.125,
            'model.student.neck.in_channels': widths,
            'model.student.bbox_head.in_channels': widths,
            'model.student.bbox_head.num_classes': CLASSES,
            'model.student.test_cfg.max_per_img': 20,
        }
    )
    return config


def config_of(name: str) -> dict:
    return deepcopy(dict(yolov5().model if name == 'yolov5_s' else example(name).model))


def with_exits(name: str = 'retinanet_r50', **changes) -> DetectionSelfDistiller:
    """A small detector of a shipped config, with an exit after each tapped module."""
    config = {**config_of(name), 'exit_modules': None, **changes}
    config.pop('type')
    return as_trained(DetectionSelfDistiller(**config)).train()


def exit_of(distiller: DetectionSelfDistiller, number: int) -> DetectionExit:
    return distiller.exits[distiller.exit_modules.index(number)]


def maps_of_exit(
    distiller: DetectionSelfDistiller, name: str, number: int, inputs: Tensor
) -> tuple[Tensor, ...]:
    """The input of an exit's head, computed by hand: maps before it, bottlenecks, the neck."""
    exit = exit_of(distiller, number)
    maps = distiller.student.backbone(inputs)[: REACHED[name][number]]
    stand_ins = [bottleneck((maps[-1],))[0] for bottleneck in exit.adapter.branches]
    return exit.adapter.fusion([*maps, *stand_ins])


def test_a_bottleneck_stands_in_for_each_map_that_is_missing():
    distiller = with_exits()
    first, second = distiller.exits
    # Behind layer2 (8 channels, stride 8) layer3 and layer4 are missing.
    assert [b.in_channels for b in first.adapter.branches] == [(8,), (8,)]
    assert [b.out_channels for b in first.adapter.branches] == [16, 32]
    assert [b.strides for b in first.adapter.branches] == [(2,), (4,)]
    (only,) = second.adapter.branches
    assert (only.in_channels, only.out_channels, only.strides) == ((16,), 32, (2,))


@pytest.mark.parametrize(('name', 'number'), EXITS)
def test_the_losses_of_an_exit_are_its_heads_weighted(name, number):
    distiller = with_exits(name, exit=dict(loss_weight=0.25), exit_modules=[number])
    _, losses = losses_of(distiller)
    data = batch(distiller, True)
    maps = maps_of_exit(distiller, name, number, data['inputs'])
    own = exit_of(distiller, number).predictor.loss(maps, data['data_samples'])
    _, expected = distiller.parse_losses(own)
    assert {'loss_cls', 'loss_bbox', 'loss'} <= set(expected)
    del expected['loss']
    of_exit = {key: loss for key, loss in losses.items() if key.startswith('exit')}
    assert set(of_exit) == {f'exit{number}.{key}' for key in expected}
    for key, value in expected.items():
        torch.testing.assert_close(of_exit[f'exit{number}.{key}'], 0.25 * value)


@pytest.mark.parametrize('name', REACHED)
def test_the_losses_of_exits_stand_beside_the_detectors_and_muse(name):
    distiller = with_exits(name)
    plain = MODELS.build(config_of(name)['student']).train()
    plain.load_state_dict(with_plain_names(distiller.state_dict()), strict=True)
    _, expected = losses_of(plain)
    total, losses = losses_of(distiller)
    modules = len(REACHED[name])
    muse = {key for key in MUSE if key == 'loss_muse' or int(key[-1]) <= modules}
    of_exits = {
        f'exit{number}.{key}' for number in REACHED[name] for key in expected if key != 'loss'
    }
    assert set(losses) == set(expected) | muse | of_exits | {'own_total'}
    for key in set(expected) - {'loss'}:
        torch.testing.assert_close(losses[key], expected[key])
    of_all = sum(losses[key] for key in of_exits) + expected['loss'] + losses['loss_muse']
    torch.testing.assert_close(total, of_all)
    torch.testing.assert_close(losses['own_total'], expected['loss'].detach())


@pytest.mark.parametrize('name', REACHED)
def test_every_weight_gets_a_gradient_in_a_step(name):
    distiller = with_exits(name)
    losses_of(distiller)[0].backward()
    assert without_gradient(distiller) == set()


def test_exits_alone_need_no_losses_between_features():
    distiller = with_exits(head=None)
    total, losses = losses_of(distiller)
    assert not MUSE & set(losses)
    assert {'loss_cls', 'exit1.loss_cls', 'exit2.loss_cls'} <= set(losses)
    total.backward()
    assert without_gradient(distiller) == set()


def test_an_exit_teaches_the_backbone_up_to_its_module_and_no_further():
    distiller = with_exits(exit_modules=[1])
    losses = distiller(**batch(distiller, True), mode='loss')
    distiller.parse_losses({k: v for k, v in losses.items() if k.startswith('exit1')})[0].backward()
    backbone = distiller.student.backbone
    assert backbone.layer2[0].conv1.weight.grad.abs().sum() > 0
    assert backbone.layer3[0].conv1.weight.grad is None


@pytest.mark.parametrize(('name', 'number'), EXITS)
def test_the_boxes_of_an_exit_are_its_heads(name, number):
    distiller = with_exits(name)
    found = predictions_of(distiller)
    data = batch(distiller, False)
    with torch.no_grad():
        maps = maps_of_exit(distiller, name, number, data['inputs'])
        expected = exit_of(distiller, number).predictor.predict(
            maps, data['data_samples'], rescale=True
        )
    for sample, of_image in zip(found, expected):
        assert_same_boxes(sample.get(f'exit{number}_instances'), of_image)


@pytest.mark.parametrize('name', REACHED)
def test_exits_do_not_change_the_detectors_boxes(name):
    distiller = with_exits(name)
    plain = MODELS.build(config_of(name)['student'])
    plain.load_state_dict(with_plain_names(distiller.state_dict()), strict=True)
    for sample, of_plain in zip(predictions_of(distiller), predictions_of(plain)):
        assert_same_boxes(sample.pred_instances, of_plain.pred_instances)


def test_exits_go_by_the_numbers_of_their_modules():
    distiller = with_exits(exit_modules=[2])
    _, losses = losses_of(distiller)
    assert {key.partition('.')[0] for key in losses if 'exit' in key} == {'exit2'}
    assert set(losses) >= MUSE
    sample = predictions_of(distiller)[0]
    assert 'exit2_instances' in sample
    assert 'exit1_instances' not in sample
    assert exit_of(distiller, 2).adapter.num_reached == 3


@pytest.mark.parametrize('numbers', [[0], [3], [1, 3], [-1], []])
def test_an_exit_behind_a_module_that_is_not_there_is_refused(numbers):
    with pytest.raises(
        InputError, match='exit_modules is a list of some of the modules 1 to 2, got'
    ):
        with_exits(exit_modules=numbers)


def test_exit_modules_are_a_list_of_integers():
    for numbers in (1, [1.0], [True], 'ab'):
        with pytest.raises(InputError, match='exit_modules is None or a list of integers, got'):
            with_exits(exit_modules=numbers)


def test_two_exits_behind_one_module_are_refused():
    with pytest.raises(InputError, match='names a module twice'):
        with_exits(exit_modules=[1, 1])


def test_a_built_student_needs_the_exits_neck_and_head():
    with pytest.raises(InputError, match=r'exit=dict\(neck=\.\.\., bbox_head=\.\.\.\)'):
        with_exits(student=detector('retinanet_r50'))


def test_a_built_student_has_the_exits_that_it_is_given():
    student = config_of('retinanet_r50')['student']
    exit = dict(neck=student['neck'], bbox_head=student['bbox_head'])
    built = with_exits(student=detector('retinanet_r50'), exit=exit)
    of_config = with_exits()
    built.load_state_dict(of_config.state_dict(), strict=True)
    torch.testing.assert_close(losses_of(built)[1], losses_of(of_config)[1])
    found, wanted = predictions_of(built)[0], predictions_of(of_config)[0]
    assert_same_boxes(found.exit1_instances, wanted.exit1_instances)


@pytest.mark.parametrize(
    ('name', 'kind'), [('faster-rcnn_r50', 'FasterRCNN'), ('detr_r50', 'DETR')]
)
def test_a_detector_without_a_dense_head_has_no_exit(name, kind):
    with pytest.raises(InputError, match=f'{kind} has none. Without exits take mmmuse.SelfDist'):
        with_exits(name)


def test_a_saved_checkpoint_holds_the_plain_detector_and_the_exits_beside_it(tmp_path):
    distiller = with_exits()
    images = demo_mm_inputs(2, [[3, SIZE, SIZE]] * 2, num_items=[2, 2], num_classes=CLASSES)
    Runner(
        distiller,
        work_dir=str(tmp_path),
        train_dataloader=dict(
            dataset=[dict(zip(images, image)) for image in zip(*images.values())],
            batch_size=2,
            sampler=dict(type='DefaultSampler'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-4)),
        default_hooks=dict(student_checkpoint=dict(type='mmmuse.StudentCheckpointHook')),
        default_scope='mmdet',
        log_level='ERROR',
        experiment_name='detection_exit',
    ).train()
    saved = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)
    plain = detector('retinanet_r50')
    plain.load_state_dict(saved['state_dict'], strict=True)
    assert_same_boxes(
        predictions_of(plain)[0].pred_instances, predictions_of(distiller)[0].pred_instances
    )
    assert {name.split('.')[0] for name in saved['distiller']} == {'exits', 'muse'}
    assert len(saved['state_dict']) + len(saved['distiller']) == len(distiller.state_dict())


CLASS_NAMES = dict(classes=('cat', 'dog'))
BOXES = torch.tensor([[0.0, 0.0, 40.0, 40.0], [50.0, 50.0, 90.0, 90.0]])


def found_boxes(kept: slice) -> InstanceData:
    boxes = BOXES[kept]
    return InstanceData(
        bboxes=boxes, scores=torch.full((len(boxes),), 0.9), labels=torch.tensor([0, 1])[kept]
    )


def sample(pred: InstanceData, **exits: InstanceData) -> DetDataSample:
    """An image of 100 pixels with a cat and a dog, and what is found in it."""
    result = DetDataSample(metainfo=dict(img_id=0, ori_shape=(100, 100)))
    result.pred_instances = pred
    for name, instances in exits.items():
        result.set_field(instances, name)
    result.set_field(
        [
            dict(bbox=box.tolist(), bbox_label=label, ignore_flag=0)
            for label, box in enumerate(BOXES)
        ],
        'instances',
        field_type='metainfo',
    )
    return result


def evaluate(samples: list[DetDataSample], *metrics: dict) -> dict:
    evaluator = Evaluator(list(metrics))
    evaluator.dataset_meta = CLASS_NAMES
    evaluator.process(samples)
    return evaluator.evaluate(len(samples))


COCO = dict(type='CocoMetric', metric='bbox')
OF_EXITS = dict(type='mmmuse.ExitDetectionMetric', metric=COCO)
BOTH, CAT, NOTHING = slice(None), slice(1), slice(0)


def test_exits_are_measured_by_themselves_and_the_detector_as_without_them():
    samples = [
        sample(
            found_boxes(CAT),
            exit1_instances=found_boxes(BOTH),
            exit3_instances=found_boxes(CAT),
        )
    ]
    figures = evaluate(samples, COCO, OF_EXITS)
    # The cat is found and the dog is not, or both are.
    assert figures['coco/bbox_mAP'] == 0.5
    assert figures['exit1/coco/bbox_mAP'] == 1.0
    assert figures['exit3/coco/bbox_mAP'] == 0.5
    assert {key.split('/')[0] for key in figures} == {'coco', 'exit1', 'exit3'}
    plain = evaluate([sample(found_boxes(CAT))], COCO)
    both = evaluate([sample(found_boxes(BOTH))], COCO)
    nan_is_equal = dict(nan_ok=True)
    assert {k: figures[k] for k in plain} == pytest.approx(plain, **nan_is_equal)
    assert {k: figures[f'exit1/{k}'] for k in both} == pytest.approx(both, **nan_is_equal)
    assert {k: figures[f'exit3/{k}'] for k in plain} == pytest.approx(plain, **nan_is_equal)


def test_a_plain_detector_has_no_figures_of_exits():
    assert evaluate([sample(found_boxes(BOTH))], OF_EXITS) == {}


def test_an_evaluation_of_exits_starts_anew():
    metric = ExitDetectionMetric(COCO)
    metric.dataset_meta = CLASS_NAMES
    for kept, expected in ((BOTH, 1.0), (CAT, 0.5)):
        metric.process(
            None, [sample(found_boxes(BOTH), exit1_instances=found_boxes(kept)).to_dict()]
        )
        assert metric.evaluate(1)['exit1/coco/bbox_mAP'] == expected
    assert metric.evaluate(1) == {}


def test_each_exit_has_one_metric_for_all_evaluations(monkeypatch):
    built = []
    initialise = CocoMetric.__init__
    monkeypatch.setattr(
        CocoMetric, '__init__', lambda self, **options: built.append(initialise(self, **options))
    )
    metric = ExitDetectionMetric(COCO)
    metric.dataset_meta = CLASS_NAMES
    boxes = found_boxes(BOTH)
    data_samples = [sample(boxes, exit1_instances=boxes, exit2_instances=boxes).to_dict()]
    for _ in range(3):
        metric.process(None, data_samples)
        assert metric.evaluate(1)['exit2/coco/bbox_mAP'] == 1.0
    assert len(built) == 2


def test_a_metric_that_is_none_is_known_before_the_first_image():
    with pytest.raises(KeyError, match='NoSuchMetric'):
        ExitDetectionMetric(dict(type='NoSuchMetric'))


@pytest.mark.parametrize(('name', 'times_batch'), [('yolov5_s', True), ('retinanet_r50', False)])
def test_muses_weight_is_relative_to_the_detectors_own_losses(name, times_batch):
    distiller, steps = with_exits(name), []
    distiller.muse.discrepancies.register_forward_pre_hook(lambda _, args: steps.extend(args))
    losses_of(distiller)
    (muse,), (step,) = distiller.muse.discrepancies, steps
    assert step.task_scale == (len(step.data_samples) if times_batch else 1)
    assert (muse.loss_weight, muse.critic_weight) == (0.03, 1.0)
    assert muse.feature_scale(step) == pytest.approx(0.03 * step.task_scale)


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (dict(channels=[32]), r'exit.channels is \[32\] in the config and \[16, 32\]'),
        (dict(local_channels=4), 'exit.local_channels is 4'),
        (dict(num_reached=1), 'exit.num_reached is 1'),
        (dict(strides=[2]), 'got 2 channels and 1 strides'),
    ],
)
def test_an_exit_of_other_channels_or_counts_is_refused_at_the_build(given, message):
    with pytest.raises(InputError, match=message):
        with_exits(exit=given, exit_modules=[1])


def test_taps_inside_a_checkpointed_backbone_are_refused():
    distiller = with_exits()
    turn_on_activation_checkpointing(distiller, ['student.backbone'])
    with pytest.raises(InputError, match=r"'backbone.layer\d'.* gets no gradient"):
        losses_of(distiller)


def test_checkpointed_stages_give_the_gradients_of_plain_ones():
    plain = with_exits()
    checkpointed = deepcopy(plain)
    turn_on_activation_checkpointing(checkpointed, ['student.backbone.layer3'])
    for distiller in (plain, checkpointed):
        torch.manual_seed(0)
        losses_of(distiller)[0].backward()
    others = dict(checkpointed.named_parameters())
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(others[name].grad, parameter.grad, msg=name)


@pytest.mark.parametrize('built', [True, False])
def test_a_built_detector_keeps_its_weights_and_one_from_a_config_is_initialised(built):
    config = config_of('retinanet_r50')
    exit = dict(neck=config['student']['neck'], bbox_head=config['student']['bbox_head'])
    student = MODELS.build(config['student']) if built else config['student']
    distiller = with_exits(student=student, exit=exit)
    for parameter in distiller.student.parameters():
        torch.nn.init.constant_(parameter, 0.25)
    distiller.init_weights()
    conv = distiller.student.bbox_head.retina_cls.weight
    assert torch.equal(conv, torch.full_like(conv, 0.25)) == built
