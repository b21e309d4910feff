"""One network of each architecture family of mmseg; the images are small."""

from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from .composition import Family

WIDTHS = [8, 16, 32, 64]


@dataclass(frozen=True)
class Segmenter(Family):
    """A segmenter of a family, without weights of files and without norms over processes."""

    def network(self, scope: str) -> Config:
        """Return the config of the network; SyncBN needs a GPU."""
        config = Family.network(self, scope)
        _without_syncbn(config)
        config.pretrained = None
        return config


def _without_syncbn(config: Any) -> None:
    if isinstance(config, dict) and config.get('type') == 'SyncBN':
        config['type'] = 'BN'
    for part in list(config.values() if isinstance(config, dict) else config):
        if isinstance(part, (dict, list, tuple)):
            _without_syncbn(part)


def of_resnet18(config: str, size: int = 64, **model: Any) -> Segmenter:
    """A segmenter with a ResNet-18 of 8 channels, and 16 in its head, in place of a ResNet-50."""
    return Segmenter(
        config,
        size,
        {
            'backbone.depth': 18,
            'backbone.stem_channels': 8,
            'backbone.base_channels': 8,
            'backbone.init_cfg': None,
            'decode_head.in_channels': 64,
            'decode_head.channels': 16,
            'auxiliary_head.in_channels': 32,
            'auxiliary_head.channels': 16,
            **{name.replace('__', '.'): value for name, value in model.items()},
        },
    )


NO_FILE = {'backbone.init_cfg': None}
NARROW_RESNET = {
    'backbone.depth': 18,
    'backbone.stem_channels': 8,
    'backbone.base_channels': 8,
    'backbone.init_cfg': None,
}
SHORT_VIT = {
    'backbone.img_size': (64, 64),
    'backbone.embed_dims': 32,
    'backbone.num_layers': 4,
    'backbone.num_heads': 2,
    'backbone.out_indices': (0, 1, 2, 3),
    'test_cfg': dict(mode='whole'),
}
NARROW_UPERNET = {
    'decode_head.channels': 16,
    'auxiliary_head.channels': 16,
    'test_cfg': dict(mode='whole'),
}
VIT_UPERNET = {
    **SHORT_VIT,
    **NARROW_UPERNET,
    'decode_head.in_channels': [32] * 4,
    'auxiliary_head.in_channels': 32,
}
ONE_LAYER = [1, 1, 1, 1]
SHORT_HRNET = {f'backbone.extra.stage{i}.num_modules': 1 for i in (3, 4)}
CITYSCAPES = '4xb2-40k_cityscapes-512x1024'

TIMM = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor'),
    backbone=dict(
        type='TIMMBackbone', model_name='resnet10t', features_only=True, pretrained=False
    ),
    decode_head=dict(
        type='FCNHead',
        in_channels=512,
        in_index=4,
        channels=16,
        num_convs=1,
        num_classes=5,
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)

SEGMENTERS = {
    'ANN': of_resnet18(
        f'ann/ann_r50-d8_{CITYSCAPES}',
        decode_head__in_channels=[32, 64],
        decode_head__project_channels=8,
    ),
    'APCNet': of_resnet18(f'apcnet/apcnet_r50-d8_{CITYSCAPES}'),
    'BEiT': Segmenter(
        'beit/beit-base_upernet_8xb2-160k_ade20k-640x640', 64, {**VIT_UPERNET, 'neck.embed_dim': 32}
    ),
    'BiSeNetV1': Segmenter('bisenetv1/bisenetv1_r18-d32_4xb4-160k_cityscapes-1024x1024'),
    'BiSeNetV2': Segmenter('bisenetv2/bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024', 128),
    'CCNet': of_resnet18(f'ccnet/ccnet_r50-d8_{CITYSCAPES}'),
    'CGNet': Segmenter(
        'cgnet/cgnet_fcn_4xb8-60k_cityscapes-512x1024', 64, {'backbone.num_blocks': (3, 4)}
    ),
    'ConvNeXt': Segmenter(
        'convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512',
        64,
        {
            **NO_FILE,
            **NARROW_UPERNET,
            'backbone.arch': dict(depths=ONE_LAYER, channels=WIDTHS),
            'decode_head.in_channels': WIDTHS,
            'auxiliary_head.in_channels': 32,
        },
    ),
    'DANet': of_resnet18(f'danet/danet_r50-d8_{CITYSCAPES}', decode_head__pam_channels=8),
    'DDRNet': Segmenter(
        'ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024', 64, NO_FILE
    ),
    'DeepLabV3': of_resnet18(f'deeplabv3/deeplabv3_r50-d8_{CITYSCAPES}'),
    'DeepLabV3+': of_resnet18(
        f'deeplabv3plus/deeplabv3plus_r50-d8_{CITYSCAPES}',
        decode_head__c1_in_channels=8,
        decode_head__c1_channels=8,
    ),
    'DMNet': of_resnet18(f'dmnet/dmnet_r50-d8_{CITYSCAPES}'),
    'DNLNet': of_resnet18(f'dnlnet/dnl_r50-d8_{CITYSCAPES}'),
    'DPT': Segmenter(
        'dpt/dpt_vit-b16_8xb2-160k_ade20k-512x512',
        64,
        {
            **SHORT_VIT,
            'decode_head.in_channels': (32,) * 4,
            'decode_head.channels': 16,
            'decode_head.embed_dims': 32,
            'decode_head.post_process_channels': WIDTHS,
        },
    ),
    'EMANet': of_resnet18(
        'emanet/emanet_r50-d8_4xb2-80k_cityscapes-512x1024', decode_head__ema_channels=16
    ),
    'EncNet': of_resnet18(
        f'encnet/encnet_r50-d8_{CITYSCAPES}', decode_head__in_channels=[16, 32, 64]
    ),
    'ERFNet': Segmenter('erfnet/erfnet_fcn_4xb4-160k_cityscapes-512x1024'),
    'Fast-SCNN': Segmenter('fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024'),
    'FastFCN': of_resnet18(
        'fastfcn/fastfcn_r50-d32_jpu_psp_4xb2-80k_cityscapes-512x1024',
        neck__in_channels=(16, 32, 64),
        neck__mid_channels=16,
    ),
    'FCN': of_resnet18(f'fcn/fcn_r50-d8_{CITYSCAPES}'),
    'GCNet': of_resnet18(f'gcnet/gcnet_r50-d8_{CITYSCAPES}'),
    'HRNet': Segmenter('hrnet/fcn_hr18s_4xb2-40k_cityscapes-512x1024', 64, SHORT_HRNET),
    'ICNet': Segmenter(
        'icnet/icnet_r18-d8_4xb2-80k_cityscapes-832x832',
        128,
        {
            'backbone.backbone_cfg.stem_channels': 8,
            'backbone.backbone_cfg.base_channels': 8,
            'backbone.layer_channels': (16, 64),
            'backbone.psp_out_channels': 16,
        },
    ),
    'ISANet': of_resnet18(f'isanet/isanet_r50-d8_{CITYSCAPES}', decode_head__isa_channels=8),
    'K-Net': Segmenter(
        'knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512',
        64,
        {
            **NARROW_RESNET,
            'decode_head.kernel_generate_head.in_channels': 64,
            'auxiliary_head.in_channels': 32,
        },
    ),
    'MAE': Segmenter(
        'mae/mae-base_upernet_8xb2-amp-160k_ade20k-512x512',
        64,
        {**VIT_UPERNET, 'neck.embed_dim': 32},
    ),
    'MobileNet V2': Segmenter('mobilenet_v2/mobilenet-v2-d8_fcn_4xb2-80k_cityscapes-512x1024'),
    'MobileNet V3': Segmenter(
        'mobilenet_v3/mobilenet-v3-d8-scratch-s_lraspp_4xb4-320k_cityscapes-512x1024', 400
    ),
    'Non-local': of_resnet18(f'nonlocal_net/nonlocal_r50-d8_{CITYSCAPES}'),
    'OCRNet': Segmenter('ocrnet/ocrnet_hr18s_4xb2-40k_cityscapes-512x1024', 64, SHORT_HRNET),
    'PCPVT': Segmenter(
        'twins/twins_pcpvt-s_fpn_fpnhead_8xb4-80k_ade20k-512x512',
        64,
        {**NO_FILE, 'backbone.depths': ONE_LAYER},
    ),
    'PIDNet': Segmenter('pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes', 64, NO_FILE),
    'PoolFormer': Segmenter('poolformer/fpn_poolformer_s12_8xb4-40k_ade20k-512x512', 64, NO_FILE),
    'PSPNet': of_resnet18(f'pspnet/pspnet_r50-d8_{CITYSCAPES}'),
    'ResNeSt': Segmenter(
        'resnest/resnest_s101-d8_fcn_4xb2-80k_cityscapes-512x1024',
        64,
        {
            'backbone.depth': 50,
            'backbone.stem_channels': 16,
            'backbone.base_channels': 8,
            'decode_head.in_channels': 256,
            'decode_head.channels': 16,
            'auxiliary_head.in_channels': 128,
            'auxiliary_head.channels': 16,
        },
    ),
    'SegFormer': Segmenter(
        'segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512',
        64,
        {**NO_FILE, 'decode_head.channels': 16},
    ),
    'Segmenter': Segmenter(
        'segmenter/segmenter_vit-t_mask_8xb1-160k_ade20k-512x512',
        64,
        {
            **SHORT_VIT,
            'backbone.out_indices': 3,
            'decode_head.in_channels': 32,
            'decode_head.channels': 32,
            'decode_head.embed_dims': 32,
            'decode_head.num_heads': 2,
        },
    ),
    'SegNeXt': Segmenter(
        'segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512',
        64,
        {**NO_FILE, 'backbone.depths': ONE_LAYER},
    ),
    'Semantic FPN': Segmenter(
        'sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024',
        64,
        {**NARROW_RESNET, 'neck.in_channels': WIDTHS},
    ),
    'SETR': Segmenter(
        'setr/setr_vit-l_naive_8xb2-160k_ade20k-512x512',
        64,
        {**SHORT_VIT, 'decode_head.in_channels': 32, 'auxiliary_head': None},
    ),
    'STDC': Segmenter('stdc/stdc1_4xb12-80k_cityscapes-512x1024'),
    'SVT': Segmenter(
        'twins/twins_svt-s_fpn_fpnhead_8xb4-80k_ade20k-512x512',
        64,
        {**NO_FILE, 'backbone.depths': ONE_LAYER},
    ),
    'Swin': Segmenter(
        'swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512',
        64,
        {
            **NO_FILE,
            **NARROW_UPERNET,
            'backbone.embed_dims': 8,
            'backbone.depths': ONE_LAYER,
            'backbone.num_heads': [1, 1, 2, 2],
            'decode_head.in_channels': WIDTHS,
            'auxiliary_head.in_channels': 32,
        },
    ),
    'U-Net': Segmenter(
        'unet/unet-s5-d16_fcn_4xb4-40k_drive-64x64',
        64,
        {
            'backbone.base_channels': 4,
            'decode_head.in_channels': 4,
            'auxiliary_head.in_channels': 8,
        },
    ),
    'TIMMBackbone': Segmenter(TIMM, note='needs the package timm'),
    'UPerNet': of_resnet18(f'upernet/upernet_r18_{CITYSCAPES}', decode_head__in_channels=WIDTHS),
    'ViT': Segmenter(
        'vit/vit_deit-s16_upernet_8xb2-160k_ade20k-512x512', 64, {**VIT_UPERNET, 'neck': None}
    ),
}
