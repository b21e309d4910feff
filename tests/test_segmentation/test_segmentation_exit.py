"""An exit's losses, masks and metrics, by slow references."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip('mmseg')

from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmmuse.errors import InputError
from mmmuse.registry import MODELS
from mmmuse.segmentation import SegmentationSelfDistiller

from .segmenters import (
    CLASSES,
    FCN,
    SIZE,
    batch,
    distilled,
    losses_of,
    predictions_of,
    segmenter,
    segmenter_config,
    taps_of,
)


def test_an_exit_learns_from_labels_and_from_the_last_logits_pixel_by_pixel():
    exit = dict(decode_head=dict(type='FCNHead', dropout_ratio=0), loss_weight=0.5)
    distiller = distilled('pspnet', exit=exit, exit_modules=[2], kd_weight=0.25)
    distiller.student.decode_head.dropout = None
    kept = {}
    head = distiller.exits[0].predictor
    head.conv_seg.register_forward_hook(lambda _, args, output: kept.update(exit=output))
    last = distiller.student.decode_head.conv_seg
    last.register_forward_hook(lambda _, args, output: kept.update(last=output))
    _, losses = losses_of(distiller)
    labels = torch.stack([each.gt_sem_seg.data[0] for each in batch(distiller)['data_samples']])
    logits = F.interpolate(kept['exit'], (SIZE, SIZE), mode='bilinear')
    each = F.cross_entropy(logits, labels, ignore_index=255, reduction='none')
    # mmseg's mean is over all pixels, the ignored ones included.
    torch.testing.assert_close(losses['exit2.loss_ce'], 0.5 * each.mean())
    small = F.interpolate(kept['exit'], kept['last'].shape[2:], mode='bilinear').double() / 3
    target = kept['last'].detach().double() / 3
    total, count = 0.0, 0
    for image in range(2):
        for row in range(target.shape[2]):
            for column in range(target.shape[3]):
                log_p = small[image, :, row, column].log_softmax(0)
                log_q = target[image, :, row, column].log_softmax(0)
                total += (log_q.exp() * (log_q - log_p)).sum().item() * 9
                count += 1
    assert losses['exit2.loss_kd'].item() == pytest.approx(0.25 * total / count, rel=1e-4)


def test_an_exit_of_the_students_own_kind_reads_maps_before_it_and_replacements():
    distiller = distilled('deeplabv3plus', exit_modules=[2])
    (exit,) = distiller.exits
    assert type(exit.predictor) is type(distiller.student.decode_head)
    # Its head reads the first and the last of four maps: the last is replaced, the third is not.
    assert [branch is None for branch in exit.adapter.branches] == [True, False]
    maps = [torch.randn(1, 4, 16, 16), torch.randn(1, 8, 8, 8), torch.randn(1, 8, 8, 8)]
    first, second, third, last = exit.adapter(maps)
    assert (first is maps[0], second is maps[1], third) == (True, True, None)
    assert last.shape[1] == 32


def test_the_masks_of_exits_in_windows_are_those_of_mmsegs_inference():
    distiller = distilled('unet', exit=FCN)
    found = predictions_of(distiller)
    inputs = batch(distiller, False)['inputs']
    summed = torch.zeros(2, CLASSES, SIZE, SIZE)
    counts = torch.zeros(SIZE, SIZE)
    with torch.no_grad():
        for top in (0, 24, 32):
            for left in (0, 24, 32):
                window = inputs[..., top : top + 32, left : left + 32].contiguous()
                with distiller.tapped:
                    distiller.student(window, mode='tensor')
                    features = distiller.collect()
                logits = distiller.exits[0].predictor.forward([features.shallow[0]])
                logits = F.interpolate(logits, (32, 32), mode='bilinear')
                summed[..., top : top + 32, left : left + 32] += logits
                counts[top : top + 32, left : left + 32] += 1
    expected = (summed / counts).argmax(1)
    for sample, mask in zip(found, expected):
        assert torch.equal(sample.exit1_sem_seg.data[0], mask)


def test_inference_leaves_the_student_as_it_was():
    distiller = distilled('unet', exit=FCN)
    before = dict(vars(distiller.student))
    predictions_of(distiller)
    after = vars(distiller.student)
    assert {k: v for k, v in after.items() if k != 'training'} == {
        k: v for k, v in before.items() if k != 'training'
    }
    assert distiller.student.out_channels == CLASSES


def test_a_built_student_needs_a_head_for_its_exits_and_shares_its_settings():
    with pytest.raises(InputError, match='has to say which decode head it has'):
        SegmentationSelfDistiller(segmenter('pspnet'), taps_of('pspnet'))
    student = segmenter('pspnet')
    with DefaultScope.overwrite_default_scope('mmseg'):
        distiller = SegmentationSelfDistiller(student, taps_of('pspnet'), FCN)
    assert distiller.student is student
    head = distiller.exits[0].predictor
    assert (head.num_classes, head.channels, head.in_channels) == (CLASSES, 8, 4)


def test_an_exit_has_the_loss_of_the_students_head_whether_built_or_not():
    config = segmenter_config('unet')
    weighted = dict(type='CrossEntropyLoss', loss_weight=2.0, class_weight=[0.2, 5.0, 1.0])
    config['decode_head']['loss_decode'] = [weighted, dict(type='DiceLoss', loss_weight=3.0)]
    own = dict(decode_head=dict(type='FCNHead', loss_decode=dict(type='CrossEntropyLoss')))
    for student in (config, MODELS.build(deepcopy(config))):
        with DefaultScope.overwrite_default_scope('mmseg'):
            distiller = distilled('unet', student=deepcopy(student), exit=FCN)
            other = distilled('unet', student=deepcopy(student), exit=own)
        entropy, dice = distiller.exits[0].predictor.loss_decode
        assert (entropy.loss_weight, entropy.class_weight) == (2.0, [0.2, 5.0, 1.0])
        assert (type(dice).__name__, dice.loss_weight) == ('DiceLoss', 3.0)
        assert (
            distiller.exits[0].predictor.loss_decode
            is not distiller.student.decode_head.loss_decode
        )
        assert torch.isfinite(losses_of(distiller)[0])
        assert other.exits[0].predictor.loss_decode.loss_weight == 1.0


def test_a_loss_that_only_the_students_head_can_call_is_not_that_of_an_exit():
    class OwnLoss(MODELS.get('mmseg.FCNHead')):
        def loss_by_feat(self, seg_logits: torch.Tensor, batch_data_samples: list) -> dict:
            labels = self._stack_batch_gt(batch_data_samples).squeeze(1)
            size = labels.shape[1:]
            return dict(loss_ce=self.loss_decode(F.interpolate(seg_logits, size), labels))

    MODELS.register_module(name='OwnLoss', module=OwnLoss, force=True)
    config = segmenter_config('unet')
    config['decode_head']['type'] = 'mmmuse.OwnLoss'
    config['decode_head']['loss_decode'] = dict(type='OhemCrossEntropy')
    for student in (config, MODELS.build(deepcopy(config))):
        with DefaultScope.overwrite_default_scope('mmseg'):
            distiller = distilled('unet', student=student, exit=FCN)
        assert type(distiller.exits[0].predictor.loss_decode).__name__ == 'CrossEntropyLoss'
        assert torch.isfinite(losses_of(distiller)[0])


def test_exits_that_were_never_trained_are_left_out_of_the_predictions():
    distiller = distilled('unet', exit=FCN)
    distiller.added_weights.trained = False
    (sample, _) = predictions_of(distiller)
    assert 'exit1_sem_seg' not in sample
    assert 'exits of the SegmentationSelfDistiller were never trained' in sample.untrained


def sample(mask: list, **exits: list) -> SegDataSample:
    """An image of four pixels whose true classes are 0, 0, 1, 1."""
    found = SegDataSample(
        gt_sem_seg=PixelData(data=torch.tensor([[[0, 0, 1, 1]]])),
        pred_sem_seg=PixelData(data=torch.tensor([[mask]])),
    )
    for name, of_exit in exits.items():
        found.set_field(PixelData(data=torch.tensor([[of_exit]])), f'{name}_sem_seg')
    return found


def test_exits_are_measured_by_themselves_and_each_class_has_its_figure():
    metric = dict(type='mmmuse.ClassIoUMetric')
    evaluator = Evaluator([metric, dict(type='mmmuse.ExitSegmentationMetric', metric=metric)])
    evaluator.dataset_meta = dict(classes=('sky', 'sea'))
    evaluator.process([sample([0, 0, 1, 1], exit1=[0, 1, 1, 1], exit3=[0, 0, 0, 0])])
    figures = evaluator.evaluate(1)
    assert (figures['mIoU'], figures['IoU/sky'], figures['IoU/sea']) == (100.0, 100.0, 100.0)
    assert (figures['exit1/IoU/sky'], figures['exit1/IoU/sea']) == (50.0, 66.67)
    assert figures['exit1/mIoU'] == 58.33
    assert (figures['exit3/IoU/sky'], figures['exit3/IoU/sea']) == (50.0, 0.0)


def test_the_loss_of_logits_counts_in_its_epochs(hub):
    distiller = distilled('unet', exit=FCN, kd=dict(epochs=(1, None)))
    assert distiller.kd[0] in distiller.distill_losses
    names = [set(losses_of(distiller)[1])]
    hub.update_info('epoch', 1)
    names.append(set(losses_of(distiller)[1]))
    assert names[1] - names[0] == {'exit1.loss_kd', 'exit2.loss_kd', 'exit3.loss_kd'}


def test_one_logit_for_two_classes_learns_by_binary_kd():
    student = segmenter_config('unet')
    for head in (student['decode_head'], student['auxiliary_head']):
        head.update(num_classes=2, out_channels=1, threshold=0.4)
        head['loss_decode'].update(use_sigmoid=True)
    distiller = distilled('unet', student=student, exit=FCN)
    assert type(distiller.kd[0]) is MODELS.get('mmmuse.BinaryKDLoss')
    data = batch(distiller)
    for each in data['data_samples']:
        each.gt_sem_seg.data = each.gt_sem_seg.data.clamp(max=1)
    losses = distiller(**data, mode='loss')
    assert torch.isfinite(distiller.parse_losses(losses)[0])
    found = predictions_of(distiller)[0]
    for mask in (found.pred_sem_seg.data, found.exit1_sem_seg.data):
        assert set(mask.unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize(
    ('losses', 'kd'),
    [
        ([dict(type='CrossEntropyLoss'), dict(type='DiceLoss')], 'KDLoss'),
        ([dict(type='DiceLoss', use_sigmoid=False)], 'KDLoss'),
        (dict(type='LovaszLoss', reduction='none'), 'KDLoss'),
        ([dict(type='CrossEntropyLoss', use_sigmoid=True), dict(type='DiceLoss')], 'BinaryKDLoss'),
        (dict(type='DiceLoss'), 'BinaryKDLoss'),
    ],
)
def test_logits_are_for_a_softmax_if_any_loss_is(losses, kd):
    config = segmenter_config('unet')
    config['decode_head']['loss_decode'] = losses
    distiller = distilled('unet', student=config, exit=FCN)
    assert type(distiller.kd[0]) is MODELS.get(f'mmmuse.{kd}')


def test_masks_of_exits_are_merged_over_the_views_of_an_image_as_the_students():
    distiller = distilled('pspnet', exit=FCN).eval()
    with DefaultScope.overwrite_default_scope('mmseg'):
        tta = MODELS.build(
            dict(type='mmmuse.MergedExits', module=distiller, tta_model=dict(type='SegTTAModel'))
        )
    first = predictions_of(distiller)
    data = batch(distiller, False)
    mirrored = []
    for sample in data['data_samples']:
        meta = dict(sample.metainfo, flip=True, flip_direction='horizontal')
        mirrored.append(SegDataSample(metainfo=meta))
    with torch.no_grad():
        second = distiller(data['inputs'].flip(-1), mirrored, mode='predict')
    expected = [
        (a.exit2_logits.data.softmax(0) + b.exit2_logits.data.softmax(0)).argmax(0)
        for a, b in zip(first, second)
    ]
    for sample, mask in zip(tta.merge_preds(list(zip(first, second))), expected):
        assert torch.equal(sample.exit2_sem_seg.data.squeeze(0), mask)
