"""One network of each architecture family of mmpretrain, made small enough for a test."""

from .composition import Family


def vit(config: str, size: int = 64, num_layers: int = 12, at: str = 'backbone') -> Family:
    """A Vision Transformer with 96 channels."""
    arch = dict(embed_dims=96, num_layers=num_layers, num_heads=3, feedforward_channels=1536)
    model = {f'{at}.arch': arch, f'{at}.img_size': size, f'{at}.init_cfg': None}
    return Family(config, size, {**model, 'head.in_channels': 96})


def narrow(config: str, **options) -> Family:
    """A ResNet of 16, 32, 64 and 128 channels, times 4."""
    model = {'backbone.base_channels': 16, 'backbone.stem_channels': 16, 'head.in_channels': 512}
    return Family(config, 64, model, **options)


def narrow_stages(config: str, size: int) -> Family:
    """A Swin Transformer or a DaViT of 32, 64, 128 and 256 channels."""
    depths = [1, 1, 3, 1] if config.startswith('davit') else [2, 2, 6, 2]
    arch = dict(embed_dims=32, depths=depths, num_heads=[1, 2, 4, 8])
    if config.startswith('swin_transformer_v2'):
        arch['extra_norm_every_n_blocks'] = 0
    return Family(config, size, {'backbone.arch': arch, 'head.in_channels': 256})


ALEXNET = dict(
    type='ImageClassifier',
    backbone=dict(type='AlexNet', num_classes=10),
    head=dict(type='ClsHead', loss=dict(type='CrossEntropyLoss')),
)

TIMM = dict(
    type='ImageClassifier',
    backbone=dict(type='TIMMBackbone', model_name='resnet10t'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead', num_classes=10, in_channels=512, loss=dict(type='CrossEntropyLoss')
    ),
)

CLASSIFIERS = {
    'AlexNet': Family(ALEXNET, 224),
    'ArcFace': Family(
        'arcface/resnet50-arcface_8xb32_inshop',
        64,
        {
            'image_encoder.0.base_channels': 16,
            'image_encoder.0.stem_channels': 16,
            'head.in_channels': 512,
            'head.num_classes': 5,
        },
    ),
    'BEiT': vit('beit/benchmarks/beit-base-p16_8xb128-coslr-100e_in1k'),
    'CLIP': vit('clip/vit-base-p16_pt-64xb64_in1k'),
    'Conformer': Family('conformer/conformer-tiny-p16_8xb128_in1k'),
    'ConvMixer': Family('convmixer/convmixer-768-32_10xb64_in1k'),
    'ConvNeXt': Family('convnext/convnext-tiny_32xb128_in1k'),
    'ConvNeXt V2': Family('convnext_v2/convnext-v2-atto_32xb32_in1k'),
    'CSPDarkNet': Family('cspnet/cspdarknet50_8xb32_in1k'),
    'CSPResNet': Family('cspnet/cspresnet50_8xb32_in1k'),
    'CSPResNeXt': Family('cspnet/cspresnext50_8xb32_in1k'),
    'CSRA': narrow('csra/resnet101-csra_1xb16_voc07-448px', note='multi-label'),
    'DaViT': narrow_stages('davit/davit-tiny_4xb256_in1k', 224),
    'DeiT': Family('deit/deit-tiny_4xb256_in1k', 64, {'backbone.img_size': 64}),
    'DeiT, distilled': Family(
        'deit/deit-tiny-distilled_4xb256_in1k', 64, {'backbone.img_size': 64}
    ),
    'DeiT III': vit('deit3/deit3-small-p16_64xb64_in1k'),
    'DenseNet': Family('densenet/densenet121_4xb256_in1k'),
    'EdgeNeXt': Family('edgenext/edgenext-xxsmall_8xb256_in1k'),
    'EfficientFormer': Family(
        'efficientformer/efficientformer-l1_8xb128_in1k',
        224,
        {'head.distillation': False},
        note='mmpretrain cannot train it with `head.distillation=True`',
    ),
    'EfficientNet': Family('efficientnet/efficientnet-b0_8xb32_in1k'),
    'EfficientNet V2': Family('efficientnet_v2/efficientnetv2-b0_8xb32_in1k'),
    'EVA': vit('eva/eva-l-p14_8xb16_in1k-196px', 56, num_layers=24),
    'EVA-02': Family('eva02/eva02-tiny-p14_in1k', 56, {'backbone.img_size': 56}),
    'HiViT': Family('hivit/hivit-tiny-p16_16xb64_in1k', 64, {'backbone.img_size': 64}),
    'HorNet': Family('hornet/hornet-tiny_8xb128_in1k'),
    'HorNet, global filter': Family('hornet/hornet-tiny-gf_8xb128_in1k'),
    'HRNet': Family('hrnet/hrnet-w18_4xb32_in1k'),
    'Inception V3': Family('inception_v3/inception-v3_8xb32_in1k', 139),
    'LeNet': Family('lenet/lenet5_mnist', 32, channels=1, num_modules=3, note='`--modules 3`'),
    'LeViT': Family(
        'levit/levit-128s_8xb256_in1k',
        224,
        {'head.distillation': False},
        note='mmpretrain cannot train it with `head.distillation=True`',
    ),
    'LoRA': vit('vision_transformer/vit-base-p16_8xb64-lora_in1k-384px', at='backbone.module'),
    'MixMIM': Family(
        'mixmim/benchmarks/mixmim-base_8xb128-coslr-100e_in1k',
        224,
        {
            'backbone.arch': dict(embed_dims=16, depths=[2, 2, 18, 2], num_heads=[1, 2, 4, 8]),
            'backbone.init_cfg': None,
            'head.in_channels': 128,
        },
    ),
    'MLP-Mixer': Family(
        'mlp_mixer/mlp-mixer-base-p16_64xb64_in1k',
        64,
        {
            'backbone.arch': dict(
                embed_dims=96, num_layers=12, tokens_mlp_dims=48, channels_mlp_dims=1536
            ),
            'backbone.img_size': 64,
            'head.in_channels': 96,
        },
    ),
    'MobileNet V2': Family('mobilenet_v2/mobilenet-v2_8xb32_in1k'),
    'MobileNet V3': Family('mobilenet_v3/mobilenet-v3-small_8xb128_in1k'),
    'MobileOne': Family('mobileone/mobileone-s0_8xb32_in1k'),
    'MobileViT': Family('mobilevit/mobilevit-xxsmall_8xb128_in1k'),
    'MViT': Family('mvit/mvitv2-tiny_8xb256_in1k'),
    'PCPVT': Family('twins/twins-pcpvt-small_8xb128_in1k'),
    'PoolFormer': Family('poolformer/poolformer-s12_32xb128_in1k'),
    'Pyramid ViG': Family('vig/pvig-tiny_8xb128_in1k', 224),
    'RegNet': Family('regnet/regnetx-400mf_8xb128_in1k'),
    'RepLKNet': Family(
        dict(
            type='ImageClassifier',
            backbone=dict(
                type='RepLKNet',
                arch=dict(
                    large_kernel_sizes=[31, 29, 27, 13],
                    layers=[2, 2, 18, 2],
                    channels=[16, 32, 64, 128],
                    small_kernel=5,
                    dw_ratio=1,
                ),
                out_indices=(3,),
            ),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=10, in_channels=128),
        )
    ),
    'RepMLP': Family(
        'repmlp/repmlp-base_8xb64_in1k',
        224,
        {
            'backbone.arch': dict(
                channels=[24, 48, 96, 192], depths=[2, 2, 12, 2], sharesets_nums=[1, 4, 8, 16]
            ),
            'head.in_channels': 192,
        },
    ),
    'RepVGG': Family('repvgg/repvgg-A0_8xb32_in1k'),
    'Res2Net': narrow('res2net/res2net50-w14-s8_8xb32_in1k'),
    'ResNeSt': narrow('resnest/resnest50_32xb64_in1k'),
    'ResNet': Family('resnet/resnet18_8xb32_in1k'),
    'ResNet of CIFAR': Family('resnet/resnet18_8xb16_cifar10', 32),
    'ResNet V1c': narrow('resnet/resnetv1c50_8xb32_in1k'),
    'ResNet V1d': narrow('resnet/resnetv1d50_8xb32_in1k'),
    'ResNeXt': narrow('resnext/resnext50-32x4d_8xb32_in1k'),
    'RevViT': Family(
        'revvit/revvit-small_8xb256_in1k',
        64,
        {'backbone.img_size': 64, 'backbone.no_custom_backward': True},
        note='`backbone.no_custom_backward=True`',
    ),
    'RIFormer': Family('riformer/riformer-s12_8xb128_in1k'),
    'SE-ResNet': narrow('seresnet/seresnet50_8xb32_in1k'),
    'SE-ResNeXt': narrow('seresnet/seresnext50-32x4d_8xb32_in1k'),
    'ShuffleNet V1': Family('shufflenet_v1/shufflenet-v1-1x_16xb64_in1k'),
    'ShuffleNet V2': Family('shufflenet_v2/shufflenet-v2-1x_16xb64_in1k'),
    'SVT': Family('twins/twins-svt-small_8xb128_in1k'),
    'Swin': narrow_stages('swin_transformer/swin-tiny_16xb64_in1k', 224),
    'Swin V2': narrow_stages('swin_transformer_v2/swinv2-tiny-w8_16xb64_in1k-256px', 256),
    'T2T-ViT': Family('t2t_vit/t2t-vit-t-14_8xb64_in1k', 64, {'backbone.img_size': 64}),
    'TIMMBackbone': Family(TIMM, note='needs the package timm'),
    'TinyViT': Family('tinyvit/tinyvit-5m_8xb256_in1k', 224),
    'TNT': Family(
        'tnt/tnt-s-p16_16xb64_in1k',
        64,
        {'backbone.img_size': 64},
        note='a layer changes the output of the one before in place',
    ),
    'VAN': Family('van/van-tiny_8xb128_in1k'),
    'VGG': Family('vgg/vgg11_8xb32_in1k', 224),
    'ViG': Family('vig/vig-tiny_8xb128_in1k', 224),
    'ViT': vit('vision_transformer/vit-base-p16_64xb64_in1k'),
    'ViT, averaged': vit('mae/benchmarks/vit-base-p16_8xb128-coslr-100e_in1k'),
    'Wide ResNet': Family(
        'wrn/wide-resnet50_8xb32_in1k',
        64,
        {'backbone.base_channels': 32, 'backbone.stem_channels': 16, 'head.in_channels': 512},
    ),
    'XCiT': Family('xcit/xcit-nano-12-p16_8xb128_in1k', 64),
}

REFUSED = {
    'LeNet, four modules': (
        Family('lenet/lenet5_mnist', 32, channels=1),
        'ImageClassifier can be cut into 3 modules at most, not 4; name the modules to tap',
    ),
    'RevViT, its own backward': (
        Family('revvit/revvit-small_8xb256_in1k', 64, {'backbone.img_size': 64}),
        "the output of tapped module 'backbone.layers.2[1]', 'backbone.layers.5[1]', "
        "'backbone.layers.8[1]' gets no gradient, although parameters before it are trained: it is "
        'inside activation checkpointing (with_cp, activation_checkpointing) or after a detach. Tap '
        'the end of the checkpointed module, or switch checkpointing off there',
    ),
    'SAM': (
        Family(
            'sam/vit-base-p16_sam_headless',
            64,
            {
                'backbone.arch': dict(
                    embed_dims=48,
                    num_layers=4,
                    num_heads=3,
                    feedforward_channels=96,
                    global_attn_indexes=[1, 3],
                ),
                'backbone.img_size': 64,
                'backbone.window_size': 2,
            },
        ),
        'ImageClassifier can be cut into 2 modules at most, not 4; name the modules to tap',
    ),
}

# Rows of the page, by the names of what is not in the tests.
NOT_COMPOSED = {
    ('self-supervised pretraining',): (
        'barlowtwins, beitv2, byol, cae, densecl, itpn, maskfeat, mff, milan, mocov2, mocov3, simclr, '
        'simmim, simsiam, spark, swav',
        'not tried: the losses need several views or masks of an image; distil the fine-tuned '
        'classifier (`benchmarks/`)',
    ),
    ('multimodal models',): (
        'blip, blip2, chinese_clip, flamingo, llava, minigpt4, ofa, otter',
        'not tried: they read texts, with language models of the package transformers',
    ),
    ('backbones without a head',): (
        'dinov2, glip',
        'they have no loss; `wrap` asks for `model.head`',
    ),
    ('CSPNet',): ('', 'the base class of CSPDarkNet, CSPResNet and CSPResNeXt'),
    ('configs of RepLKNet',): (
        'replknet',
        'MMEngine cannot read these files, as a base of theirs is Python code; the network is in '
        'the table',
    ),
    ('SparseResNet', 'SparseConvNeXt'): ('spark', 'they are for the pretraining of SparK only'),
}
