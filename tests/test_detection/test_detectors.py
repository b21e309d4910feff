"""mmdet's detectors, of the example configs made small, are distilled between named modules."""

from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmmuse.checkpoints.state_dicts import with_plain_names
from mmmuse.command_line.config import load_config
from mmmuse.distillers import SelfDistiller
from mmmuse.errors import InputError
from mmmuse.registry import MODELS

EXAMPLES = Path(__file__).resolve().parents[2] / 'configs' / 'examples'
SIZE, CLASSES = 64, 3
MUSE = {'mi_loss_1', 'mi_loss_2', 'si_loss_1', 'si_loss_2', 'loss_muse'}
RESNET = {
    'backbone.depth': 18,
    'backbone.stem_channels': 4,
    'backbone.base_channels': 4,
    'backbone.init_cfg': None,
    'neck.in_channels': [4, 8, 16, 32],
    'neck.out_channels': 8,
}
DENSE_HEAD = {
    'bbox_head.num_classes': CLASSES,
    'bbox_head.in_channels': 8,
    'bbox_head.feat_channels': 8,
    'bbox_head.stacked_convs': 1,
    'test_cfg.score_thr': 0.0,
    'test_cfg.max_per_img': 20,
}
CSP = {
    'backbone.widen_factor': 0.125,
    'backbone.deepen_factor': 0.167,
    'backbone.init_cfg': None,
    'neck.in_channels': [32, 64, 128],
    'neck.out_channels': 8,
    **DENSE_HEAD,
}
TWO_STAGES = {
    'rpn_head.in_channels': 8,
    'rpn_head.feat_channels': 8,
    'roi_head.bbox_roi_extractor.out_channels': 8,
    'roi_head.bbox_head.in_channels': 8,
    'roi_head.bbox_head.fc_out_channels': 16,
    'roi_head.bbox_head.num_classes': CLASSES,
    'train_cfg.rpn_proposal.nms_pre': 50,
    'train_cfg.rcnn.sampler.num': 32,
    'test_cfg.rpn.nms_pre': 50,
    'test_cfg.rcnn.score_thr': 0.0,
    'test_cfg.rcnn.max_per_img': 20,
}
LAYERS = {
    f'{coder}.layer_cfg.{key}': value
    for coder, attentions in (('encoder', ['self']), ('decoder', ['self', 'cross']))
    for key, value in (
        ('ffn_cfg.embed_dims', 16),
        ('ffn_cfg.feedforward_channels', 16),
        *((f'{attention}_attn_cfg.embed_dims', 16) for attention in attentions),
        *((f'{attention}_attn_cfg.num_heads', 2) for attention in attentions),
    )
}
TRANSFORMER = {
    'neck.in_channels': [32],
    'neck.out_channels': 16,
    'num_queries': 10,
    'encoder.num_layers': 1,
    'decoder.num_layers': 2,
    'positional_encoding.num_feats': 8,
    'bbox_head.embed_dims': 16,
    'bbox_head.num_classes': CLASSES,
    'test_cfg.max_per_img': 10,
    **LAYERS,
}
DETECTORS = {
    'retinanet_r50': {**RESNET, **DENSE_HEAD},
    'faster-rcnn_r50': {**RESNET, **TWO_STAGES},
    'fcos_r50': {**RESNET, **DENSE_HEAD, 'bbox_head.norm_cfg': dict(type='GN', num_groups=2)},
    # Untrained, it would otherwise predict boxes of negative sides, which it drops.
    'rtmdet-s': {**CSP, 'bbox_head.exp_on_reg': True},
    'yolox-s': {**CSP, 'data_preprocessor.batch_augments': None},
    'detr_r50': {**RESNET, **TRANSFORMER},
}


@cache
def example(name: str) -> Config:
    """An example config with a narrow backbone, 3 classes and no weights to fetch."""
    config = load_config(str(EXAMPLES / f'{name}_coco_mi_x_si.py'), {})
    config.merge_from_dict(
        {f'model.student.{key}': value for key, value in DETECTORS[name].items()}
    )
    return config


def detector(name: str) -> BaseModel:
    return MODELS.build(deepcopy(example(name).model.student))


def distilled(name: str, **changes) -> SelfDistiller:
    """A detector distilled as the example says, without any exit."""
    model = example(name).model
    parts = {key: deepcopy(model[key]) for key in ('student', 'taps', 'head')}
    return SelfDistiller(**{**parts, **changes}).train()


def batch(model: BaseModel, training: bool) -> dict:
    """Two images, one lower than the other, with two boxes each: the same ones every time."""
    shapes = [[3, SIZE, SIZE], [3, SIZE - 4, SIZE]]
    data = demo_mm_inputs(2, shapes, num_items=[2, 2], num_classes=CLASSES)
    return model.data_preprocessor(data, training)


def losses_of(model: BaseModel) -> tuple[Tensor, dict[str, Tensor]]:
    """The sum of a step's losses and each by its name; what is drawn is the same every time."""
    torch.manual_seed(1)
    return model.parse_losses(model(**batch(model, True), mode='loss'))


def predictions_of(model: BaseModel) -> list[DetDataSample]:
    with torch.no_grad():
        return model.eval()(**batch(model, False), mode='predict')


def without_gradient(model: BaseModel) -> set[str]:
    return {
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.grad is None
    }


def has_gradient(module: nn.Module) -> bool:
    return any(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def plain_copy(name: str, distiller: SelfDistiller) -> BaseModel:
    """The plain detector with the student's weights, all of which it takes and no other."""
    plain = detector(name)
    plain.load_state_dict(with_plain_names(distiller.state_dict()), strict=True)
    return plain.train()


def assert_same_boxes(found: InstanceData, expected: InstanceData) -> None:
    assert len(found) > 0
    for key in ('bboxes', 'scores', 'labels'):
        assert torch.equal(found[key], expected[key])


@pytest.mark.parametrize('name', DETECTORS)
def test_a_step_has_the_plain_detectors_losses_and_those_of_muse(name):
    distiller = distilled(name)
    _, expected = losses_of(plain_copy(name, distiller))
    _, losses = losses_of(distiller)
    assert set(losses) == set(expected) | MUSE | {'own_total'}
    assert all(torch.isfinite(loss) for loss in losses.values())
    for key in set(expected) - {'loss'}:
        torch.testing.assert_close(losses[key], expected[key])
    torch.testing.assert_close(losses['loss'], expected['loss'] + losses['loss_muse'])


@pytest.mark.parametrize('name', DETECTORS)
def test_muse_teaches_backbone_and_critics_and_no_weight_is_left_out_of_a_step(name):
    distiller = distilled(name)
    plain = plain_copy(name, distiller)
    losses_of(plain)[0].backward()
    torch.manual_seed(1)
    losses = distiller(**batch(distiller, True), mode='loss')
    losses['loss_muse'].backward(retain_graph=True)
    (muse,) = distiller.muse.discrepancies
    for module in (
        *(distiller.student.get_submodule(path) for path in distiller.tap_paths.all),
        *muse.mi_critics,
        *muse.si_critics,
    ):
        assert has_gradient(module)
    ends = [getattr(distiller.student, end, None) for end in ('bbox_head', 'roi_head', 'rpn_head')]
    assert not any(has_gradient(end) for end in ends if end)
    distiller.parse_losses(losses)[0].backward()
    assert without_gradient(distiller) == {f'student.{key}' for key in without_gradient(plain)}


@pytest.mark.parametrize('name', DETECTORS)
def test_a_plain_detector_takes_the_students_weights_and_predicts_the_same(name):
    distiller = distilled(name)
    found = predictions_of(distiller)
    expected = predictions_of(plain_copy(name, distiller))
    assert [type(sample) for sample in found] == [DetDataSample, DetDataSample]
    for sample, plain in zip(found, expected):
        assert_same_boxes(sample.pred_instances, plain.pred_instances)


class Landscapes(list):
    """What mmdet's sampler asks of a dataset: the sizes of its images."""

    def get_data_info(self, index: int) -> dict:
        return dict(width=4, height=3)


@pytest.mark.parametrize('name', DETECTORS)
def test_an_image_left_over_which_muse_cannot_be_computed_of_is_dropped(name):
    loader = deepcopy(example(name).train_dataloader)
    size = loader.batch_size
    loader.update(dataset=Landscapes(range(2 * size + 1)), num_workers=0, persistent_workers=False)
    with DefaultScope.overwrite_default_scope('mmdet'):
        batches = Runner.build_dataloader(loader, seed=0).batch_sampler
    assert [len(indices) for indices in batches] == [size, size]


@pytest.mark.parametrize(
    'taps',
    [
        dict(
            modules=['backbone.layer3', 'neck.fpn_convs.0.conv'],
            last='neck.fpn_convs.2.conv',
        ),
        dict(modules=['backbone.layer3', 'neck[0]'], last='neck[2]'),
    ],
    ids=['a module', 'an output of the neck'],
)
def test_a_neck_is_tapped_like_a_backbone(taps):
    distiller = distilled('retinanet_r50', taps=taps)
    assert [spec.channels for spec in distiller.tap_specs.values()] == [16, 8, 8]
    losses = distiller(**batch(distiller, True), mode='loss')
    losses['loss_muse'].backward(retain_graph=True)
    assert has_gradient(distiller.student.neck.lateral_convs[0])
    distiller.parse_losses(losses)[0].backward()
    assert without_gradient(distiller) == set()


@pytest.mark.parametrize(
    ('name', 'path', 'error'),
    [
        ('retinanet_r50', 'bbox_head.loss_cls', 'was not reached by the forward'),
        ('faster-rcnn_r50', 'roi_head.bbox_head.loss_cls', 'was not reached by the forward'),
        ('retinanet_r50', 'bbox_head.retina_cls', 'ran twice in one forward'),
    ],
    ids=['a loss', 'a loss of regions', 'a head shared by levels'],
)
def test_a_module_that_does_not_run_once_is_named(name, path, error):
    with pytest.raises(InputError, match=f"^tapped module '{path}' {error}"):
        distilled(name, taps=dict(modules=[path], last='backbone.layer4'))


@pytest.mark.parametrize(
    ('name', 'path', 'nearest'),
    [
        ('retinanet_r50', 'backbone.layer5', 'backbone.layer'),
        ('rtmdet-s', 'backbone.stages.3', 'backbone.stage3'),
    ],
)
def test_a_path_of_no_module_is_named_with_the_nearest(name, path, nearest):
    with pytest.raises(InputError, match=f"has no module '{path}'; nearest: .*'{nearest}"):
        distilled(name, taps=dict(modules=[path], last='backbone.layer4'))
