"""Export of detectors and their exits by the command line, on drawn squares."""

import json
import re
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import init_detector
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import nn

from mmmuse.checkpoints.state_dicts import DISTILLER_KEY, split_state_dict, with_plain_names
from mmmuse.command_line.config import load_config
from mmmuse.export.data import NormalizedTestSet
from mmmuse.export.trained import load_trained_detector
from mmmuse.registry import MODELS

from ..test_distillers.detectors import built, detector, detr, faster_rcnn
from .conftest import run_command
from .test_show_detections import CLASSES, write_config

pytestmark = pytest.mark.usefixtures('onnx_operators_collected_once')

TOOL = 'export_detector.py'
SIZES = [(64, 64), (96, 64), (64, 96), (80, 48)] * 3
SMALL = """
    backbone=dict(widen_factor=0.125),
    neck=dict(in_channels=[32, 64, 128]),
    bbox_head=dict(num_classes=2, in_channels=[32, 64, 128]),
    test_cfg=dict(score_thr=0.2, max_per_img=20),
"""
RETINANET = """
    student=dict(
        backbone=dict(depth=18, stem_channels=4, base_channels=4, init_cfg=None),
        neck=dict(in_channels=[4, 8, 16, 32], out_channels=8),
        bbox_head=dict(num_classes=2, in_channels=8, feat_channels=8, stacked_convs=1),
        test_cfg=dict(max_per_img=20),
    ),
"""
DATA = """
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    dataset=dict(
        dataset=dict(
            data_root={root!r},
            ann_file='squares.json',
            data_prefix=dict(img='images/'),
            metainfo=dict(classes={classes}),
        ),
    ),
)
"""
METRICS = """
metric = dict(type='CocoMetric', ann_file={root!r} + 'squares.json', metric='bbox')
val_evaluator = [metric, dict(type='mmmuse.ExitDetectionMetric', metric=metric)]
test_evaluator = val_evaluator
"""


def write_squares(folder: Path) -> None:
    """Write twelve images of four sizes: two squares each, red and blue, on noise."""
    (folder / 'images').mkdir()
    random = np.random.default_rng(0)
    images, annotations = [], []
    for number, (width, height) in enumerate(SIZES):
        pixels = random.integers(0, 256, (height, width, 3), np.uint8)
        for label, colour in enumerate([(0, 0, 255), (255, 0, 0)]):
            x, y, side = 4 + 30 * label, 3 + number, 16 + number
            pixels[y : y + side, x : x + side] = colour
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number,
                    category_id=label,
                    bbox=[x, y, side, side],
                    area=side**2,
                    iscrowd=0,
                )
            )
        images.append(dict(id=number, file_name=f'{number:02}.png', width=width, height=height))
        cv2.imwrite(str(folder / 'images' / images[-1]['file_name']), pixels)
    categories = [dict(id=i, name=name) for i, name in enumerate(CLASSES)]
    content = dict(images=images, categories=categories, annotations=annotations)
    (folder / 'squares.json').write_text(json.dumps(content))


def spread_out(model: BaseModel) -> None:
    """Update the norms on some images, and spread scores between 0 and 1."""
    meta = dict(img_shape=(64, 64), ori_shape=(64, 64), scale_factor=(1.0, 1.0))
    samples = [DetDataSample(metainfo=meta) for _ in range(2)]
    heads = [module for module in model.modules() if type(module).__name__ == 'YOLOv5Head']
    with torch.no_grad():
        for _ in range(4):
            model.train().predict(torch.rand(2, 3, 64, 64), samples)
        for conv in (conv for head in heads for conv in head.convs):
            nn.init.normal_(conv.weight, std=4 / conv.in_channels**0.5)


def write_checkpoint(config: Path) -> None:
    """Save what training saves: the student under its own names, the rest beside."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(load_config(str(config), {}).model)
        spread_out(model)
    weights = model.state_dict()
    student, rest = split_state_dict(weights)
    content = (
        {'state_dict': with_plain_names(weights), DISTILLER_KEY: rest}
        if student
        else {'state_dict': rest}
    )
    content['meta'] = dict(dataset_meta=dict(classes=CLASSES))
    torch.save(content, config.with_suffix('.pth'))


@pytest.fixture(scope='module')
def squares(tmp_path_factory) -> Path:
    """A folder with images, and configs and checkpoints of three detectors."""
    folder = tmp_path_factory.mktemp('squares')
    write_squares(folder)
    root = f'{folder}/'
    for name, base, model, more in [
        ('plain', 'yolov5_s_coco.py', SMALL, DATA),
        ('distilled', 'yolov5_s_coco_mi_x_si.py', f'student=dict({SMALL})', DATA),
        ('retinanet', '../examples/retinanet_r50_coco_mi_x_si.py', RETINANET, ''),
    ]:
        path = write_config(folder / f'{name}.py', base, model)
        text = (more + METRICS).format(root=root, classes=CLASSES)
        path.write_text(path.read_text() + text)
        write_checkpoint(path)
    return folder


def files(squares: Path, name: str) -> tuple[Path, Path]:
    return squares / f'{name}.py', squares / f'{name}.pth'


class Export(NamedTuple):
    out: Path
    printed: str

    @property
    def report(self) -> dict:
        return json.loads((self.out / 'report.json').read_text())


@pytest.fixture(scope='module')
def exit1(squares, tmp_path_factory) -> Export:
    """The exit of YOLOv5 as a detector, and as ONNX with suppression inside."""
    pytest.importorskip('onnxruntime')
    out = tmp_path_factory.mktemp('out') / 'exit1'
    args = [*files(squares, 'distilled'), '--exit', 1, '--nms', '--evaluate', '--out', out]
    with redirect_stdout(StringIO()) as printed:
        assert run_command(TOOL, *args) == 0
    return Export(out, printed.getvalue())


def test_an_exit_is_written_and_measured_beside_the_whole(squares, exit1):
    names = sorted(path.name for path in exit1.out.iterdir())
    assert names[:3] + names[4:] == ['checkpoint.pth', 'config.py', 'detector.onnx', 'report.json']
    assert names[3].startswith('exit_parts_')
    assert f'written to {exit1.out}: {", ".join(names)}' in exit1.printed
    assert 'Exit 1 and the full network; batch 1 of (3, 128, 128)' in exit1.printed
    assert exit1.report['image_shape'] == [3, 128, 128]
    forms = exit1.report['forms']
    assert list(forms) == ['original', 'mmdet', 'ONNX']
    for name in forms:
        assert name in exit1.printed
        assert forms[name]['milliseconds'] > 0
    student = torch.load(squares / 'plain.pth')['state_dict']
    batches = {name for name in student if name.endswith('num_batches_tracked')}
    buffers = {name for name in student if 'running_' in name} | batches
    assert forms['original']['params'] == sum(
        value.numel() for name, value in student.items() if name not in buffers
    )
    assert 0 < forms['mmdet']['macs'] < forms['original']['macs']
    assert forms['mmdet']['bytes'] == (exit1.out / 'checkpoint.pth').stat().st_size
    assert forms['ONNX']['bytes'] == (exit1.out / 'detector.onnx').stat().st_size
    assert forms['original']['boxes_compared'] is None
    assert forms['mmdet']['boxes_compared'] == forms['ONNX']['boxes_compared'] == 10 * 20


def test_complexity_counts_what_an_exported_exit_has(tool, squares, exit1, tmp_path):
    path = tmp_path / 'complexity.json'
    flags = ['--input-shape', 3, 128, 128, '--json', path]
    finished = tool('analysis/complexity.py', squares / 'distilled.py', *flags)
    assert finished.code == 0, finished.err
    forms = exit1.report['forms']
    rows = json.loads(path.read_text())['exits']
    assert [row['exit'] for row in rows] == [1, 2]
    for row, form in zip(rows, ('mmdet', 'original')):
        assert (row['params'], row['macs']) == (forms[form]['params'], forms[form]['macs'])


def test_exits_of_a_detector_are_refused_where_only_classifiers_have_them(
    tool, only_error, squares, tmp_path
):
    args = ['analysis/complexity.py', squares / 'plain.py']
    assert only_error(tool(*args)) == (
        'error: the config has no exits: its model is SingleStageDetector, not '
        'mmmuse.DetectionSelfDistiller; see docs/detectors.md, "A detector with an exit"'
    )
    args = ['analysis/choose_exit.py', *files(squares, 'distilled'), '--max-loss', 1]
    options = ['--cfg-options', f'test_dataloader.dataset.ann_file={squares}/squares.json']
    line = only_error(tool(*args, '--out', tmp_path / 'out', *options))
    assert 'reads the exits of classifiers, and the model is mmmuse.DetectionSelfDistiller' in line


def test_the_onnx_file_says_how_images_are_prepared(exit1):
    onnxruntime = pytest.importorskip('onnxruntime')
    session = onnxruntime.InferenceSession(
        exit1.out / 'detector.onnx', providers=['CPUExecutionProvider']
    )
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata.pop('config') == 'distilled.py'
    assert {key: json.loads(value) for key, value in metadata.items()} == dict(
        mean=[0.0] * 3, std=[255.0] * 3, to_rgb=True, pad_value=114 / 255, classes=CLASSES
    )


# Imports no module of mmmuse except mmmuse.compat, which replaces mmcv's compiled ops.
ALONE = """
import sys

import mmmuse.compat


class Hidden:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.startswith('mmmuse.') and not name.startswith(('mmmuse.compat', 'mmmuse.errors')):
            raise ModuleNotFoundError(f'{name} is hidden')


sys.meta_path.insert(0, Hidden)

import torch
from mmdet.apis import inference_detector, init_detector
from mmengine.config import Config
from mmengine.runner import Runner

folder, work_dir, *images = sys.argv[1:]
detector = init_detector(f'{folder}/config.py', f'{folder}/checkpoint.pth', device='cpu')
found = [sample.pred_instances for sample in inference_detector(detector, images)]
names = ('bboxes', 'scores', 'labels')
torch.save([{name: boxes[name] for name in names} for boxes in found], 'found.pth')
config = Config.fromfile(f'{folder}/config.py')
config.work_dir = work_dir
config.train_cfg.max_epochs = 1
Config.pretty_text = ''  # Laying it out for the log takes as long as the training.
print('tested', Runner.from_cfg(config).test()['coco/bbox_mAP_50'])
config.experiment_name = 'training'
Runner.from_cfg(config).train()
"""


def boxes_of_exit1(squares: Path) -> list[InstanceData]:
    """The exit's boxes in each image, in the full network."""
    config, checkpoint = files(squares, 'distilled')
    config = load_config(str(config), {})
    with DefaultScope.overwrite_default_scope('mmdet'), torch.no_grad():
        distiller = load_trained_detector(config, str(checkpoint))
        return [
            distiller.predict(**batch)[0].exit1_instances
            for batch in NormalizedTestSet(config, distiller, len(SIZES))
        ]


def test_mmdet_finds_the_same_boxes_and_trains_without_mmmuse(squares, exit1, tmp_path):
    images = sorted(map(str, (squares / 'images').iterdir()))
    alone = subprocess.run(
        [sys.executable, '-c', ALONE, str(exit1.out), str(tmp_path / 'run'), *images],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert alone.returncode == 0, alone.stderr
    found = torch.load(tmp_path / 'found.pth')
    for boxes, expected in zip(found, boxes_of_exit1(squares), strict=True):
        assert len(expected) == 20
        assert torch.equal(boxes['labels'], expected.labels)
        torch.testing.assert_close(boxes['scores'], expected.scores)
        torch.testing.assert_close(boxes['bboxes'], expected.bboxes, rtol=0, atol=1e-3)
    tested = float(re.search(r'^tested (.*)$', alone.stdout, re.MULTILINE)[1])
    assert tested == exit1.report['forms']['mmdet']['metrics']['coco/bbox_mAP_50'] > 0
    weights = torch.load(tmp_path / 'run' / 'epoch_1.pth', weights_only=False)['state_dict']
    exported = torch.load(exit1.out / 'checkpoint.pth')['state_dict']
    assert weights.keys() == exported.keys()
    name = 'bbox_head.convs.0.weight'
    assert not torch.equal(weights[name], exported[name])


def test_evaluating_gives_the_figures_of_the_test_set(tool, squares, exit1, tmp_path):
    path = tmp_path / 'metrics.json'
    flags = ['--out', path, '--out-item', 'metrics']
    tested = tool('test.py', *files(squares, 'distilled'), *flags)
    assert tested.code == 0, tested.err
    metrics = json.loads(path.read_text())
    for name, prefix in (('original', ''), ('mmdet', 'exit1/'), ('ONNX', 'exit1/')):
        found = exit1.report['forms'][name]['metrics']
        shown = []
        for key in ('coco/bbox_mAP', 'coco/bbox_mAP_50'):
            assert found[key] == pytest.approx(metrics[prefix + key], abs=1e-3)
            shown.append(f'{found[key]:.3f}')
        assert found['coco/bbox_mAP_50'] > 0
        (row,) = (line for line in exit1.printed.splitlines() if line.strip().startswith(name))
        assert row.split()[1:3] == shown


def test_a_plain_detector_is_exported_whole(tool, squares, tmp_path):
    export = Export(tmp_path / 'full', '')
    config, checkpoint = files(squares, 'plain')
    finished = tool(TOOL, config, checkpoint, '--out', export.out)
    assert finished.code == 0, finished.err
    assert 'The detector and the full network' in finished.out
    forms = export.report['forms']
    assert list(forms) == ['original', 'mmdet']
    assert forms['original']['metrics'] is forms['mmdet']['metrics'] is None
    assert forms['mmdet']['params'] == forms['original']['params']
    trained = torch.load(checkpoint)['state_dict']
    weights = torch.load(export.out / 'checkpoint.pth')['state_dict']
    assert weights.keys() == trained.keys()
    assert all(torch.equal(weights[name], trained[name]) for name in trained)


@pytest.mark.parametrize(
    'model', [faster_rcnn(), detr(), detector('RetinaNet')], ids=lambda model: model['type']
)
def test_every_kind_of_detector_is_exported_as_mmdets_own(
    tool, only_error, squares, tmp_path, model
):
    config, checkpoint = tmp_path / 'config.py', tmp_path / 'trained.pth'
    student = {**model, '_delete_': True}
    text = f'_base_ = {str(squares / "plain.py")!r}\nmodel = {student!r}\n'
    config.write_text(f'{text}test_dataloader = dict(dataset=dict(indices=2))\n')
    torch.manual_seed(0)
    torch.save(dict(state_dict=built(model).state_dict()), checkpoint)
    export = Export(tmp_path / 'out', '')
    args = [TOOL, config, checkpoint, '--out', export.out]
    if pytest.importorskip('onnxruntime'):
        assert 'has none: omit --onnx' in only_error(tool(*args, '--onnx'))
    finished = tool(*args, '--batch-size', 2)
    assert finished.code == 0, finished.err
    original, read = export.report['forms'].values()
    assert (read['params'], read['macs']) == (original['params'], original['macs'])
    assert read['macs'] > 1e6
    assert read['milliseconds'] > 0
    weights = torch.load(export.out / 'checkpoint.pth')['state_dict']
    plain = init_detector(str(export.out / 'config.py'), device='cpu')
    assert type(plain).__name__ == model['type']
    plain.load_state_dict(weights, strict=True)


def save_for_one_shape(program, path, *more):
    """Stand in for the slow export: what is returned takes images of one shape, as ONNX does."""
    path.write_bytes(b'onnx')
    module, example = program

    def run(images):
        assert images.shape[1:] == example.shape[1:]
        return module(images)

    return torch.no_grad()(run)


class UncheckedProgram(NamedTuple):
    module: Any
    images: Any

    def check(self) -> None: ...


def test_all_forms_are_evaluated_on_batches_of_any_shape(tool, squares, tmp_path, monkeypatch):
    pytest.importorskip('onnxruntime')
    monkeypatch.setattr('mmmuse.export.formats.Program', UncheckedProgram)
    monkeypatch.setattr('mmmuse.export.formats.save_onnx', save_for_one_shape)
    export = Export(tmp_path / 'full', '')
    args = [TOOL, *files(squares, 'distilled'), '--onnx', '--evaluate', '--out', export.out]
    finished = tool(*args, '--cfg-options', 'test_dataloader.batch_size=1')
    assert finished.code == 0, finished.err
    metrics = {name: form['metrics'] for name, form in export.report['forms'].items()}
    assert list(metrics) == ['original', 'mmdet', 'ONNX']
    for of_form in metrics.values():
        assert of_form['coco/bbox_mAP_50'] > 0
        assert of_form == pytest.approx(metrics['original'], nan_ok=True, abs=0.02)


def test_an_exit_of_a_detector_that_onnx_does_not_take_is_exported_without(
    tool, only_error, squares, tmp_path
):
    out = tmp_path / 'exit2'
    args = [TOOL, *files(squares, 'retinanet'), '--exit', 2, '--out', out]
    if pytest.importorskip('onnxruntime'):
        line = only_error(tool(*args, '--onnx'))
        assert 'RetinaHead has none: omit --onnx' in line
        assert not list(tmp_path.iterdir())
    finished = tool(*args)
    assert finished.code == 0, finished.err
    assert 'Exit 2 and the full network' in finished.out
    assert not (out / 'detector.onnx').exists()


def test_exports_that_cannot_be_made_leave_nothing(tool, only_error, squares, tmp_path):
    out = tmp_path / 'out'
    plain, distilled = files(squares, 'plain'), files(squares, 'distilled')

    def refused(*args) -> str:
        line = only_error(tool(TOOL, *args, '--out', out))
        assert not list(tmp_path.iterdir())
        return line

    assert 'unknown exit 5; available: 1, and 2, the full network' in refused(
        *distilled, '--exit', 5
    )
    assert 'the config has no exits: its model is SingleStageDetector' in refused(
        *plain, '--exit', 1
    )
    assert f'no checkpoint file {tmp_path}/none.pth' in refused(plain[0], tmp_path / 'none.pth')
    assert 'its exits have not been trained' in refused(distilled[0], plain[1], '--exit', 1)
    assert 'of another network; these tensors differ: ' in refused(
        squares / 'retinanet.py', plain[1], '--exit', 2
    )
    assert 'select the network of a classifier with --exit or --peer' in refused(
        'configs/demo/resnet18_digits.py', plain[1]
    )
    assert 'images of 128x128 pixels do not fit into --input-shape (3, 64, 128)' in refused(
        *plain, '--input-shape', 3, 64, 128
    )


def test_a_suppression_that_onnx_lacks_is_refused_before_the_export(
    tool, only_error, squares, tmp_path, monkeypatch
):
    pytest.importorskip('onnxruntime')
    calls = []
    monkeypatch.setattr('mmmuse.export.formats.Program.__init__', calls.append)
    monkeypatch.setattr('mmmuse.export.data.NormalizedTestSet.__iter__', calls.append)
    args = [TOOL, *files(squares, 'plain'), '--nms', '--out', tmp_path / 'out']
    line = only_error(tool(*args, '--cfg-options', 'model.test_cfg.nms.type=soft_nms'))
    assert '--nms supports plain NMS only, not' in line
    assert 'soft_nms' in line
    assert calls == []
    assert not list(tmp_path.iterdir())


def test_a_file_that_could_run_code_is_exported_only_on_request(
    tool, only_error, squares, tmp_path, monkeypatch
):
    config, checkpoint = files(squares, 'plain')
    content = torch.load(checkpoint)
    torch.save({**content, 'options': Config()}, tmp_path / 'code.pth')
    out = tmp_path / 'out'
    args = [TOOL, config, tmp_path / 'code.pth', '--input-shape', 3, 128, 128, '--out', out]
    # With --input-shape the images are not read to find their largest shape.
    monkeypatch.delattr('mmmuse.export.detector_target.common_shape')
    assert 'pass --trust-checkpoint' in only_error(tool(*args))
    assert not out.exists()
    finished = tool(*args, '--trust-checkpoint')
    assert finished.code == 0, finished.err
    assert Export(out, '').report['image_shape'] == [3, 128, 128]
    weights = torch.load(out / 'checkpoint.pth')['state_dict']
    assert all(torch.equal(weights[name], content['state_dict'][name]) for name in weights)


@pytest.mark.parametrize(
    'flags', [['--int8'], ['--torch-export'], ['--peer', 'a'], ['--data', '.']]
)
def test_the_common_command_finds_the_kind_of_network(tool, only_error, squares, tmp_path, flags):
    flags = [squares if flag == '.' else flag for flag in flags]  # Where the data is.
    args = ['export.py', *files(squares, 'distilled'), *flags, '--out', tmp_path / 'out']
    line = only_error(tool(*args))
    assert f'{flags[0]}' in line
    assert 'is not supported for a detector' in line
    assert not list(tmp_path.iterdir())


def test_an_export_whose_boxes_are_others_is_not_kept(
    tool, only_error, squares, tmp_path, monkeypatch
):
    monkeypatch.setattr('mmmuse.export.detector_target.PIXELS', -1.0)
    line = only_error(tool(TOOL, *files(squares, 'plain'), '--out', tmp_path / 'out'))
    assert 'verification failed; the export was discarded' in line
    assert 'boxes differ between mmdet and the detector, which finds 20 in this image' in line
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_left_as_it_is(tool, only_error, squares, tmp_path):
    (tmp_path / 'config.py').write_text('mine')
    args = [TOOL, *files(squares, 'plain')]
    assert f'{tmp_path} already exists' in only_error(tool(*args, '--out', tmp_path))
    assert 'no folder' in only_error(tool(*args, '--out', tmp_path / 'a' / 'b'))
    assert [path.name for path in tmp_path.iterdir()] == ['config.py']
    assert (tmp_path / 'config.py').read_text() == 'mine'
