"""Segmenters of three families and an exit of each, exported with ONNX: the masks of six images."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip('mmseg')

from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmseg.apis import inference_model, init_model

from mmmuse.checkpoints.state_dicts import DISTILLER_KEY, split_state_dict, with_plain_names
from mmmuse.export.formats import onnx_function
from mmmuse.registry import MODELS

from ..test_segmentation.segmenters import segmenter_config
from .conftest import run_command

SIZE, CLASSES = 48, ('sky', 'sea', 'land')
LOADED = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
PYRAMID = dict(num_stages=2, strides=(4, 2), out_indices=(0, 1))
# Changes to the first two stages, and the paths of these.
NETWORKS = {
    'pspnet': (
        dict(num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(0, 1)),
        dict(in_channels=8, in_index=1, pool_scales=(1,)),
        ['backbone.layer1', 'backbone.layer2'],
    ),
    'segformer': (
        dict(
            **dict(PYRAMID, num_layers=[1, 1], num_heads=[1, 2]),
            **dict(sr_ratios=[8, 4], patch_sizes=[7, 3]),
        ),
        dict(in_channels=[4, 8], in_index=[0, 1]),
        ['backbone.layers.0.2', 'backbone.layers.1.2'],
    ),
    'upernet-swin': (
        dict(depths=[1, 1], num_heads=[1, 1], strides=(4, 2), out_indices=(0, 1)),
        dict(in_channels=[4, 8], in_index=[0, 1], pool_scales=(1,)),
        ['backbone.norm0', 'backbone.norm1'],
    ),
}


def config_of(name: str, images: Path) -> Config:
    """Config of a distilled segmenter of two stages without MUSE, with a folder as its test set."""
    backbone, head, (shallow, last) = NETWORKS[name]
    student = segmenter_config(name)
    student['backbone'].update(backbone)
    student['decode_head'].update(head)
    student['auxiliary_head'] = None
    taps = dict(modules=[shallow], last=last, logits='decode_head.conv_seg')
    dataset = dict(
        type='BaseSegDataset',
        data_prefix=dict(img_path=str(images)),
        img_suffix='.png',
        metainfo=dict(classes=CLASSES),
        pipeline=LOADED,
        test_mode=True,
    )
    loader = dict(batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
    return Config(
        dict(
            default_scope='mmseg',
            model=dict(
                type='mmmuse.SegmentationSelfDistiller',
                student=student,
                taps=taps,
                input_shape=(3, SIZE, SIZE),
            ),
            test_dataloader=dict(**loader, dataset=dataset),
            test_pipeline=LOADED,
        )
    )


@pytest.fixture(scope='module')
def images(tmp_path_factory) -> Path:
    """Six images of coloured squares on noise."""
    folder = tmp_path_factory.mktemp('images')
    draw = np.random.default_rng(0)
    for number in range(6):
        image = draw.integers(0, 100, (SIZE, SIZE, 3), dtype=np.uint8)
        left, top = draw.integers(2, SIZE // 2, 2)
        image[top : top + 20, left : left + 20] += draw.integers(0, 150, 3, dtype=np.uint8)
        cv2.imwrite(str(folder / f'{number}.png'), image)
    return folder


def exported(name: str, images: Path, folder: Path) -> tuple[BaseModel, dict[str, Path]]:
    """Return a distiller with drawn weights, and folders with exports of it and of its exit."""
    config = config_of(name, images)
    config.dump(str(folder / 'config.py'))
    with DefaultScope.overwrite_default_scope('mmseg'):
        distiller = MODELS.build(Config.fromfile(folder / 'config.py').model)
    for module in distiller.modules():  # As after a training, with masks of more than one class.
        if hasattr(module, 'running_var'):
            module.running_var.uniform_(0.5, 1.5)
        if getattr(module, 'out_channels', None) == len(CLASSES) and hasattr(module, 'weight'):
            torch.nn.init.normal_(module.weight)
    weights = distiller.state_dict()
    content = dict(
        state_dict=with_plain_names(weights),
        meta=dict(dataset_meta=dict(classes=CLASSES)),
        **{DISTILLER_KEY: split_state_dict(weights)[1]},
    )
    torch.save(content, folder / 'trained.pth')
    folders = {'full': folder / 'full', 'exit1': folder / 'exit1'}
    for number, path in zip('21', folders.values()):
        arguments = ('export.py', folder / 'config.py', folder / 'trained.pth', '--out', path)
        assert run_command(*arguments, '--exit', number, '--onnx') == 0
    distiller.cfg = config
    distiller.added_weights.trained = True
    return distiller.eval(), folders


@pytest.mark.parametrize('name', NETWORKS)
def test_a_segmenter_and_an_exit_have_the_same_masks_in_plain_mmseg_and_onnx(
    images, tmp_path, onnx_operators_collected_once, name
):
    distiller, folders = exported(name, images, tmp_path)
    paths = sorted(map(str, images.iterdir()))
    with DefaultScope.overwrite_default_scope('mmseg'):
        own = [inference_model(distiller, path) for path in paths]
    batch = dict(inputs=[torch.from_numpy(cv2.imread(path)).permute(2, 0, 1) for path in paths])
    inputs = distiller.data_preprocessor(batch, False)['inputs']
    for form, field in (('full', 'pred_sem_seg'), ('exit1', 'exit1_sem_seg')):
        expected = torch.cat([sample.get(field).data for sample in own])
        assert len(expected.unique()) > 1
        config = Config.fromfile(folders[form] / 'config.py')
        weights = torch.load(folders[form] / 'checkpoint.pth', weights_only=True)['state_dict']
        with DefaultScope.overwrite_default_scope('mmseg'):
            plain = init_model(config, device='cpu')
            plain.load_state_dict(weights, strict=True)
            found = [inference_model(plain, path).pred_sem_seg.data for path in paths]
        assert torch.equal(torch.cat(found), expected)
        logits = onnx_function(folders[form] / 'segmenter.onnx')(inputs)  # Six images at once.
        assert torch.equal(logits.argmax(1), expected)
        report = json.loads((folders[form] / 'report.json').read_text())
        assert report['forms']['ONNX']['other_pixels'] == 0
