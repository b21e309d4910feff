"""Narrow segmenters from mmseg's own model files, and small images for them."""

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import mmseg
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from mmmuse.checkpoints.state_dicts import with_plain_names
from mmmuse.registry import MODELS
from mmmuse.segmentation import SegmentationSelfDistiller

from ..conftest import as_trained

FILES = Path(mmseg.__file__).parent / '.mim' / 'configs' / '_base_' / 'models'
SIZE, CLASSES = 64, 3
WIDTHS = [4, 8, 16, 32]
_HEAD = {'num_classes': CLASSES, 'channels': 8, 'norm_cfg': dict(type='BN')}
_RESNET = {
    'backbone.depth': 18,
    'backbone.stem_channels': 4,
    'backbone.base_channels': 4,
    'decode_head.in_channels': 32,
    'auxiliary_head.in_channels': 16,
}
_STAGES = ['backbone.layer1', 'backbone.layer2', 'backbone.layer3', 'backbone.layer4']
_BRANCHES = {1: [4], 2: [4, 8], 3: [4, 8, 16], 4: WIDTHS}
FCN = dict(decode_head=dict(type='FCNHead'))
# File, changes, and the tapped modules from shallow to the last one.
SEGMENTERS: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    'unet': (
        'fcn_unet_s5-d16',
        {
            'backbone.base_channels': 4,
            'decode_head.in_channels': 4,
            'auxiliary_head.in_channels': 8,
            'test_cfg': dict(mode='slide', crop_size=(32, 32), stride=(24, 24)),
        },
        ['backbone.encoder.2', 'backbone.decoder.2', 'backbone.decoder.1', 'backbone.decoder.0'],
    ),
    'pspnet': ('pspnet_r50-d8', {**_RESNET, 'decode_head.pool_scales': (1, 2)}, _STAGES),
    'deeplabv3plus': (
        'deeplabv3plus_r50-d8',
        {
            **_RESNET,
            'decode_head.dilations': (1, 2),
            'decode_head.c1_in_channels': 4,
            'decode_head.c1_channels': 4,
        },
        _STAGES,
    ),
    'upernet-swin': (
        'upernet_swin',
        {
            'backbone.embed_dims': 4,
            'backbone.depths': [1, 1, 1, 1],
            'backbone.num_heads': [1, 1, 2, 2],
            'backbone.window_size': 2,
            'decode_head.in_channels': WIDTHS,
            'decode_head.pool_scales': (1, 2),
            'auxiliary_head.in_channels': 16,
        },
        [f'backbone.norm{i}' for i in range(4)],
    ),
    'segformer': (
        'segformer_mit-b0',
        {
            'backbone.embed_dims': 4,
            'backbone.num_layers': [1, 1, 1, 1],
            'backbone.num_heads': [1, 2, 4, 8],
            'decode_head.in_channels': WIDTHS,
        },
        [f'backbone.layers.{i}.2' for i in range(4)],
    ),
    'ocrnet-hrnet': (
        'ocrnet_hr18',
        {
            **{
                f'backbone.extra.stage{i}': dict(
                    num_modules=1,
                    num_branches=len(widths),
                    block='BOTTLENECK' if i == 1 else 'BASIC',
                    num_blocks=(1,) * len(widths),
                    num_channels=tuple(widths),
                )
                for i, widths in _BRANCHES.items()
            },
            **{f'decode_head.{i}.in_channels': WIDTHS for i in range(2)},
            'decode_head.1.ocr_channels': 4,
        },
        ['backbone.stage2[0]', 'backbone.stage3[0]', 'backbone.stage4[0]'],
    ),
}
EXITS = {name: FCN if name == 'ocrnet-hrnet' else None for name in SEGMENTERS}
HEAD = dict(
    type='mmmuse.MUSEHead',
    ce_weight=0,
    kd_weight=0,
    discrepancy=dict(type='mmmuse.MUSELoss', critic=dict(hidden_channels=8)),
)


@cache
def _config(name: str) -> Config:
    file, changes, _ = SEGMENTERS[name]
    config = Config.fromfile(FILES / f'{file}.py')
    heads = config.model.decode_head
    cascade = isinstance(heads, list)
    prefixes = [f'decode_head.{i}' for i in range(len(heads))] if cascade else ['decode_head']
    if config.model.get('auxiliary_head'):
        prefixes.append('auxiliary_head')
    for prefix in prefixes:
        changes = {f'{prefix}.{key}': value for key, value in _HEAD.items()} | changes
    if 'norm_cfg' in config.model.backbone and name != 'upernet-swin':
        changes = {'backbone.norm_cfg': dict(type='BN'), **changes}
    changes = {'data_preprocessor.size_divisor': 32, 'pretrained': None, **changes}
    config.merge_from_dict({f'model.{key}': value for key, value in changes.items()})
    return config


def segmenter_config(name: str) -> dict:
    """Config of a narrow segmenter, with mmseg as its scope."""
    return {**deepcopy(_config(name).model), '_scope_': 'mmseg'}


def segmenter(name: str) -> BaseModel:
    return MODELS.build(segmenter_config(name))


def taps_of(name: str, logits: str | None = None) -> dict:
    paths = SEGMENTERS[name][2]
    if logits is None:
        logits = 'decode_head.1.conv_seg' if name == 'ocrnet-hrnet' else 'decode_head.conv_seg'
    return dict(modules=paths[:-1], last=paths[-1], logits=logits)


def distilled(name: str, **changes: Any) -> SegmentationSelfDistiller:
    """A segmenter distilled with an exit behind each module, named by paths alone."""
    arguments = dict(
        student=segmenter_config(name), taps=taps_of(name), exit=EXITS[name], head=deepcopy(HEAD)
    )
    return as_trained(SegmentationSelfDistiller(**{**arguments, **changes}).train())


def raw_batch(sizes: Any = ((SIZE, SIZE),) * 2) -> tuple[list[Tensor], list[SegDataSample]]:
    """Two images with random masks, a column of which is ignored: the same ones every time."""
    generator = torch.Generator().manual_seed(0)
    images, samples = [], []
    for height, width in sizes:
        images.append(torch.randint(0, 256, (3, height, width), generator=generator).byte())
        mask = torch.randint(0, CLASSES, (1, height, width), generator=generator)
        mask[..., 0] = 255
        sample = SegDataSample(
            metainfo=dict(ori_shape=(height, width), img_shape=(height, width), img_path='0.png')
        )
        sample.gt_sem_seg = PixelData(data=mask)
        samples.append(sample)
    return images, samples


def batch(model: BaseModel, training: bool = True, **options: Any) -> dict:
    """The images of :func:`raw_batch`, normalized."""
    images, samples = raw_batch(**options)
    return model.data_preprocessor(dict(inputs=images, data_samples=samples), training)


def losses_of(model: BaseModel) -> tuple[Tensor, dict[str, Tensor]]:
    """The sum of a step's losses and each by its name; what is drawn is the same every time."""
    torch.manual_seed(1)
    return model.parse_losses(model(**batch(model), mode='loss'))


def predictions_of(model: BaseModel, **options: Any) -> list[SegDataSample]:
    with torch.no_grad():
        return model.eval()(**batch(model, False, **options), mode='predict')


def plain_copy(name: str, distiller: SegmentationSelfDistiller) -> BaseModel:
    """The plain segmenter with the student's weights, all of which it takes and no other."""
    plain = segmenter(name)
    plain.load_state_dict(with_plain_names(distiller.state_dict()), strict=True)
    return plain.train()


def without_gradient(model: BaseModel) -> set[str]:
    return {
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.grad is None
    }
