"""Segmenters that learn from bigger ones by CWD, of features and of scores."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData

from mmmuse.errors import InputError
from mmmuse.functional import cwd_loss, kd_loss
from mmmuse.registry import MODELS

SegDataSample = pytest.importorskip('mmseg.structures').SegDataSample

pytestmark = pytest.mark.slow

CLASSES = 4
MEAN, STD = [120.0, 110.0, 100.0], [60.0] * 3


def segmenter(width: int = 4, bgr_to_rgb: bool = True) -> dict:
    """An FCN on a narrow ResNet-18."""
    return dict(
        type='EncoderDecoder',
        _scope_='mmseg',
        data_preprocessor=dict(
            type='SegDataPreProcessor',
            mean=MEAN if bgr_to_rgb else MEAN[::-1],
            std=STD,
            bgr_to_rgb=bgr_to_rgb,
            size=(64, 64),
        ),
        backbone=dict(
            type='ResNetV1c', depth=18, stem_channels=8, base_channels=8, norm_cfg=dict(type='BN')
        ),
        decode_head=dict(
            type='FCNHead',
            in_channels=64,
            in_index=3,
            channels=width,
            num_convs=1,
            num_classes=CLASSES,
            norm_cfg=dict(type='BN'),
            dropout_ratio=0.0,
            loss_decode=dict(type='CrossEntropyLoss'),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    )


def taught(taps: dict, teacher: dict | None = None, **loss) -> torch.nn.Module:
    return MODELS.build(
        dict(
            type='mmmuse.OfflineDistiller',
            student=segmenter(),
            teacher=MODELS.build(teacher or segmenter(8)),
            taps=taps,
            input_shape=(3, 64, 64),
            teacher_input_shape=(3, 64, 64),
            losses=[dict(type='mmmuse.CWDLoss', loss_weight=3.0, **loss)],
        )
    ).train()


def batch() -> tuple[torch.Tensor, list]:
    torch.manual_seed(0)
    samples = []
    for _ in range(2):
        sample = SegDataSample(metainfo=dict(img_shape=(64, 64), ori_shape=(64, 64)))
        sample.gt_sem_seg = PixelData(data=torch.randint(0, CLASSES, (1, 64, 64)))
        samples.append(sample)
    return torch.randn(2, 3, 64, 64), samples


@pytest.mark.parametrize(
    'taps',
    [
        dict(last='decode_head.conv_seg'),
        dict(modules=['backbone.layer3'], last='decode_head.convs'),
    ],
    ids=['scores', 'features of other channels'],
)
def test_a_segmenter_learns_the_channels_of_a_bigger_one(taps):
    distiller = taught(taps)
    images, samples = batch()
    losses = distiller(images, samples, mode='loss')
    total, log = distiller.parse_losses(losses)
    total.backward()
    assert log['loss_cwd'] > 0
    assert {'decode.loss_ce', 'decode.acc_seg'} <= set(log)
    missing = [name for name, value in distiller.named_parameters() if value.grad is None]
    assert missing == []
    assert list(distiller.student.state_dict()) == list(MODELS.build(segmenter()).state_dict())


def test_the_loss_of_scores_is_that_of_both_networks_outputs():
    distiller = taught(dict(last='decode_head.conv_seg'), temperature=2.0)
    images, samples = batch()
    distiller.student.eval()
    with torch.no_grad():
        own, other = (x(images) for x in (distiller.student, distiller.teacher.model))
    found = distiller(images, samples, mode='loss')['loss_cwd']
    torch.testing.assert_close(found, 3 * cwd_loss(own, other, 2.0))


def test_scores_can_be_compared_as_maps_and_as_logits_of_pixels():
    scores = 'decode_head.conv_seg'
    distiller = MODELS.build(
        dict(
            type='mmmuse.OfflineDistiller',
            student=segmenter(),
            teacher=MODELS.build(segmenter(8)),
            taps=dict(last=scores, logits=scores),
            input_shape=(3, 64, 64),
            losses=[
                dict(type='mmmuse.CWDLoss', loss_weight=3.0, temperature=2.0),
                dict(type='mmmuse.KDLoss', loss_weight=1.0, temperature=2.0),
            ],
        )
    ).eval()
    images, samples = batch()
    with torch.no_grad():
        own, other = (x(images) for x in (distiller.student, distiller.teacher.model))
    losses = distiller(images, samples, mode='loss')
    torch.testing.assert_close(losses['loss_cwd'].detach(), 3 * cwd_loss(own, other, 2.0))
    rows = [x.movedim(1, 3).flatten(0, 2) for x in (own, other)]
    torch.testing.assert_close(losses['loss_kd'].detach(), kd_loss(*rows, 2.0))


def test_a_teacher_of_bgr_sees_its_own_images():
    distiller = taught(dict(last='decode_head.conv_seg'), segmenter(8, bgr_to_rgb=False))
    loaded = torch.randint(0, 256, (2, 3, 64, 64)).float()  # BGR, as files are loaded.
    mean = torch.tensor(MEAN).view(3, 1, 1)
    seen = distiller.teacher.conversion((loaded.flip(1) - mean) / 60)
    torch.testing.assert_close(seen, (loaded - mean.flip(0)) / 60)


def test_maps_of_other_strides_are_refused():
    teacher = segmenter(8)
    teacher['backbone'].update(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4))
    with pytest.raises(InputError, match=r'those of module 1 are 32 .* and 8 .*resize=True'):
        taught(dict(last='decode_head.conv_seg'), teacher)
    distiller = taught(dict(last='decode_head.conv_seg'), teacher, resize=True)
    assert distiller(*batch(), mode='loss')['loss_cwd'].isfinite()


def test_peers_of_other_grids_imitate_the_mean_on_the_first_ones_grid():
    fine = segmenter()
    fine['backbone'].update(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4))
    taps = dict(last='backbone.layer4', logits='decode_head.conv_seg', modules=['backbone.layer3'])
    distiller = MODELS.build(
        dict(
            type='mmmuse.OnlineDistiller',
            peers=[
                dict(name='a', model=fine, taps=taps, input_shape=(3, 64, 64)),
                dict(name='b', model=segmenter(), taps=taps, input_shape=(3, 64, 64)),
            ],
            losses=[dict(type='mmmuse.KDCLLoss', loss_weight=1.0, temperature=2.0)],
        )
    ).eval()
    images, samples = batch()
    with torch.no_grad():
        own = {name: network(images) for name, network in distiller.networks.items()}
        losses = distiller(images, samples, mode='loss')
    assert (own['a'].shape[2:], own['b'].shape[2:]) == ((8, 8), (2, 2))
    resized = F.interpolate(own['b'], (8, 8), mode='bilinear')
    rows = [x.movedim(1, 3).flatten(0, 2) for x in (resized, (own['a'] + resized) / 2)]
    torch.testing.assert_close(losses['b.loss_kdcl'], kd_loss(*rows, 2.0))
