"""mmseg's segmenters, from its own model files made small, are distilled by module names alone."""

import pytest
import torch

pytest.importorskip('mmseg')

from mmengine.optim import OptimWrapper
from mmseg.models.decode_heads import FCNHead
from torch import nn

from mmmuse.distillers import SelfDistiller
from mmmuse.errors import InputError
from mmmuse.optim import BFloat16OptimWrapper
from mmmuse.registry import MODELS
from mmmuse.segmentation.exit_head import check_exit_head
from mmmuse.tapping.proposal import propose_taps

from .segmenters import (
    CLASSES,
    FCN,
    HEAD,
    SEGMENTERS,
    SIZE,
    WIDTHS,
    batch,
    distilled,
    losses_of,
    plain_copy,
    predictions_of,
    segmenter,
    segmenter_config,
    taps_of,
    without_gradient,
)


def without_dropout(model: nn.Module) -> nn.Module:
    """The model in training mode, whose dropout drops nothing: its draws are those of a step."""
    for module in model.modules():
        if 'drop' in type(module).__name__.lower():
            module.eval()
    return model


@pytest.mark.parametrize('name', SEGMENTERS)
def test_a_step_has_the_plain_segmenters_losses_and_those_of_exits_and_muse(name):
    distiller = without_dropout(distilled(name))
    _, expected = losses_of(without_dropout(plain_copy(name, distiller)))
    _, losses = losses_of(distiller)
    shallow = len(distiller.tap_paths.shallow)
    exits = {
        f'exit{i}.{term}'
        for i in range(1, shallow + 1)
        for term in ('loss_ce', 'loss_kd', 'acc_seg')
    }
    assert {key for key in losses if key.startswith('exit')} == exits
    assert set(expected) <= set(losses)
    assert 'loss_muse' in losses
    for key in set(expected) - {'loss'}:
        torch.testing.assert_close(losses[key], expected[key])
    added = [key for key in exits if 'loss' in key] + ['loss_muse']
    torch.testing.assert_close(losses['loss'], expected['loss'] + sum(losses[key] for key in added))


@pytest.mark.parametrize('name', SEGMENTERS)
def test_no_weight_is_left_out_of_a_step(name):
    distiller = distilled(name)
    plain = plain_copy(name, distiller)
    losses_of(plain)[0].backward()
    losses_of(distiller)[0].backward()
    assert without_gradient(distiller) == {f'student.{key}' for key in without_gradient(plain)}


@pytest.mark.parametrize('name', SEGMENTERS)
def test_a_plain_segmenter_takes_the_students_weights_and_predicts_the_same_masks(name):
    distiller = distilled(name)
    found = predictions_of(distiller)
    expected = predictions_of(plain_copy(name, distiller))
    for sample, plain in zip(found, expected):
        assert torch.equal(sample.pred_sem_seg.data, plain.pred_sem_seg.data)
        assert torch.equal(sample.seg_logits.data, plain.seg_logits.data)
        for i in range(1, len(distiller.tap_paths.shallow) + 1):
            assert sample.get(f'exit{i}_sem_seg').data.shape == (1, SIZE, SIZE)
            assert sample.get(f'exit{i}_logits').data.shape == (CLASSES, SIZE, SIZE)


@pytest.mark.parametrize('name', SEGMENTERS)
def test_auto_taps_the_backbone_and_finds_the_logits_of_each_pixel(name):
    proposal = propose_taps(segmenter(name), 3, (3, SIZE, SIZE))
    assert (proposal.num_classes, proposal.kind, proposal.of_pixels) == (CLASSES, 'classes', True)
    assert len(proposal.modules) == 2
    assert all(path.startswith('backbone.') for path in (*proposal.modules, proposal.last))
    assert proposal.logits == taps_of(name)['logits']
    distiller = SelfDistiller(segmenter_config(name), dict(num_modules=3), HEAD)
    assert torch.isfinite(losses_of(distiller.train())[0])


@pytest.mark.parametrize('name', SEGMENTERS)
def test_a_step_in_bfloat16_has_finite_losses(name):
    distiller = distilled(name)
    optimizer = torch.optim.SGD(distiller.parameters(), lr=1e-3)
    wrapper = BFloat16OptimWrapper(optimizer=optimizer)
    data = batch(distiller)
    with wrapper.optim_context(distiller):
        losses = distiller(**data, mode='loss')
    loss, values = distiller.parse_losses(losses)
    wrapper.update_params(loss)
    assert all(torch.isfinite(value) for value in values.values())
    assert losses['exit1.loss_kd'].dtype == torch.float32


@pytest.mark.parametrize('name', ['pspnet', 'upernet-swin'])
def test_images_of_another_aspect_ratio_are_trained_and_segmented(name):
    distiller = distilled(name)
    sizes = ((32, 64),) * 2
    data = batch(distiller, sizes=sizes)
    loss, _ = distiller.parse_losses(distiller(**data, mode='loss'))
    assert torch.isfinite(loss)
    sample = predictions_of(distiller, sizes=sizes)[0]
    assert sample.exit1_sem_seg.data.shape == (1, 32, 64)


def test_two_steps_of_training_change_every_part():
    distiller = distilled('segformer')
    wrapper = OptimWrapper(torch.optim.SGD(distiller.parameters(), lr=0.1))
    before = {name: value.clone() for name, value in distiller.named_parameters()}
    for _ in range(2):
        wrapper.update_params(losses_of(distiller)[0])
    parts = {
        '.'.join(name.split('.')[:2])
        for name, value in distiller.named_parameters()
        if not torch.equal(value, before[name])
    }
    assert {'student.backbone', 'student.decode_head', 'exits.0', 'muse.discrepancies'} <= parts


def test_exits_of_a_classifiers_head_are_refused_for_a_segmenter():
    with pytest.raises(InputError, match=r'take mmmuse\.SegmentationSelfDistiller for exits'):
        SelfDistiller(segmenter_config('unet'), taps_of('unet'), dict(type='mmmuse.MUSEHead'))


def test_logits_of_a_segmenter_are_a_map_with_its_classes():
    taps = taps_of('pspnet', 'decode_head.bottleneck')
    with pytest.raises(InputError, match='outputs 8 values for 3 classes'):
        distilled('pspnet', taps=taps)
    taps.pop('logits')
    with pytest.raises(InputError, match=r"not tapped: set taps\.logits, 'decode_head\.conv_seg'"):
        distilled('pspnet', taps=taps)
    assert 'exit1.loss_kd' not in losses_of(distilled('pspnet', taps=taps, kd_weight=0))[1]


def test_a_cascade_cannot_be_an_exit_and_is_named():
    with pytest.raises(
        InputError, match=r'a cascade of decode heads \(FCNHead, OCRHead\) cannot be an exit'
    ):
        distilled('ocrnet-hrnet', exit=None)
    ocr = dict(type='OCRHead', ocr_channels=4)
    with pytest.raises(InputError, match='OCRHead cannot be an exit: it is part of a cascade'):
        distilled('ocrnet-hrnet', exit=dict(decode_head=ocr))


def test_a_classifier_has_no_exits_of_a_segmenter():
    from mmmuse.segmentation import SegmentationSelfDistiller

    from ..conftest import TAPS, small_classifier_config

    with pytest.raises(InputError, match='an EncoderDecoder of mmseg; got ImageClassifier'):
        SegmentationSelfDistiller(small_classifier_config(), TAPS, FCN)


@pytest.mark.parametrize(
    'head',
    [
        dict(type='PIDHead', in_channels=4, channels=4, num_classes=CLASSES),
        dict(type='DDRHead', in_channels=4, channels=4, num_classes=CLASSES),
    ],
)
def test_heads_whose_loss_reads_several_maps_cannot_be_exits(head):
    built = MODELS.build({**head, 'norm_cfg': dict(type='BN'), '_scope_': 'mmseg'})
    kind = head['type']
    with pytest.raises(
        InputError, match=f'{kind} cannot be an exit: it does not compute its loss from one map of'
    ):
        check_exit_head(built)


def test_a_head_with_a_loss_of_its_own_on_one_map_can_be_an_exit():
    head = dict(type='STDCHead', boundary_threshold=0.1, in_channels=4, channels=4)
    options = dict(num_classes=2, norm_cfg=dict(type='BN'), _scope_='mmseg')
    check_exit_head(MODELS.build({**head, **options}))


def test_a_loss_of_image_labels_is_refused_between_pixels():
    with pytest.raises(
        InputError, match='DKDLoss reads one class label for each image, and the logits of a'
    ):
        distilled('pspnet', kd=dict(type='mmmuse.DKDLoss'))


def test_a_neck_computes_with_the_maps_that_the_head_does_not_read():
    config = segmenter_config('pspnet')
    config['neck'] = dict(type='FPN', in_channels=WIDTHS, out_channels=8, num_outs=4)
    config['decode_head'] = dict(
        config['decode_head'], type='FCNHead', in_channels=8, in_index=3, num_convs=1
    )
    config['decode_head'].pop('pool_scales')
    config['auxiliary_head'] = None
    distiller = distilled('pspnet', student=config)
    loss, values = losses_of(distiller)
    loss.backward()
    assert {'exit1.loss_ce', 'exit2.loss_ce', 'exit3.loss_ce'} <= set(values)
    assert torch.isfinite(loss)


def test_an_exit_has_the_classes_of_the_student():
    head = dict(type='FCNHead', num_classes=5)
    with pytest.raises(
        InputError, match=r'exit\.decode_head\.num_classes is 5 and that of the student 3'
    ):
        distilled('pspnet', exit=dict(decode_head=head))


def test_a_class_in_place_of_its_name_gives_the_same_small_head():
    by_class = distilled('pspnet', exit=dict(decode_head=dict(type=FCNHead)))
    by_name = distilled('pspnet', exit=FCN)
    shapes = [
        {key: value.shape for key, value in each.exits.state_dict().items()}
        for each in (by_class, by_name)
    ]
    assert shapes[0] == shapes[1]
