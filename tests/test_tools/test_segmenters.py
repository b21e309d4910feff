"""Segmenters by the command line, on drawn squares."""

import csv
import json
import re
import shutil
import subprocess
import sys
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

from mmmuse.checkpoints.state_dicts import DISTILLER_KEY
from mmmuse.command_line.config import load_config
from mmmuse.export.formats import onnx_function
from mmmuse.export.trained import load_trained_segmenter

from .conftest import ROOT, run_command

pytestmark = pytest.mark.usefixtures('onnx_operators_collected_once')

SIZE, NAMES = 32, [str(i) for i in range(6)]
CONFIG = """
_base_ = {base!r}

model = dict({model})
data = dict(
    data_root={root!r},
    ann_file='',
    data_prefix=dict(img_path='images', seg_map_path='labels'),
)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    drop_last=True,
    dataset=dict(times=1, dataset=data),
)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=data)
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=2, val_interval=2)
randomness = dict(seed=0)
"""
NARROW = (
    'backbone=dict(base_channels=4, enc_num_convs=(1, 1, 1, 1), dec_num_convs=(1, 1, 1)), '
    "decode_head=dict(in_channels=4, channels=4, norm_cfg=dict(type='BN'))"
)
DISTILLED = (
    f'student=dict({NARROW}), '
    'exit=dict(decode_head=dict(channels=4)), '
    'head=dict(discrepancy=dict(critic=dict(hidden_channels=8)))'
)


def draw(folder: Path) -> Path:
    """Six grey images with a bright square each, and its mask."""
    random = np.random.default_rng(0)
    for part in ('images', 'labels'):
        (folder / part).mkdir(parents=True)
    for name in NAMES:
        mask = np.zeros((SIZE, SIZE), np.uint8)
        left, top = random.integers(2, SIZE // 2, 2)
        mask[top : top + 12, left : left + 12] = 1
        image = random.integers(0, 100, (SIZE, SIZE)) + 150 * mask
        cv2.imwrite(str(folder / 'images' / f'{name}.png'), image.clip(0, 255).astype(np.uint8))
        cv2.imwrite(str(folder / 'labels' / f'{name}.png'), mask)
    return folder


def write_config(folder: Path, name: str, model: str, base: str) -> Path:
    path = folder / f'{name}.py'
    base = str(ROOT / 'configs' / 'segmentation' / f'{base}.py')
    path.write_text(CONFIG.format(base=base, model=model, root=str(folder / 'data')))
    return path


@pytest.fixture(scope='module')
def squares(tmp_path_factory) -> Path:
    """A folder with data, a plain and a distilled config, and a run of the latter in ``run``."""
    folder = tmp_path_factory.mktemp('squares')
    draw(folder / 'data')
    write_config(folder, 'plain', NARROW, 'unet_membrane')
    config = write_config(folder, 'distilled', DISTILLED, 'unet_membrane_mi_x_si')
    assert run_command('train.py', config, '--work-dir', folder / 'run') == 0
    return folder


def trained(squares: Path) -> BaseModel:
    """The distiller of the run, as mmseg's functions take a segmenter."""
    config = load_config(str(squares / 'distilled.py'), {})
    distiller = load_trained_segmenter(config, str(squares / 'run' / 'epoch_2.pth'))
    distiller.cfg = config
    return distiller


def weights(path: Path) -> dict[str, torch.Tensor]:
    content = torch.load(path, weights_only=False)
    return {**content['state_dict'], **content[DISTILLER_KEY]}


def test_the_metrics_of_exits_have_their_prefix(squares, tool):
    finished = tool('test.py', squares / 'distilled.py', squares / 'run' / 'epoch_2.pth')
    assert finished.code == 0, finished.err
    for name in ('mIoU', 'IoU/membrane', 'exit2/mIoU', 'exit3/mIoU', 'exit3/IoU/cell'):
        assert re.search(rf'(?<![\w/]){name}: \d', finished.out + finished.err), name


def test_the_student_loads_strictly_into_plain_mmseg_with_the_same_masks(squares):
    content = torch.load(squares / 'run' / 'epoch_2.pth', weights_only=False)
    plain = load_config(str(squares / 'plain.py'), {})
    with DefaultScope.overwrite_default_scope('mmseg'):
        segmenter = init_model(plain, device='cpu')
        segmenter.load_state_dict(content['state_dict'], strict=True)
        segmenter.dataset_meta = content['meta']['dataset_meta']
        distiller = trained(squares)
        for name in NAMES:
            image = str(squares / 'data' / 'images' / f'{name}.png')
            mask, own = (
                inference_model(each, image).pred_sem_seg.data for each in (segmenter, distiller)
            )
            assert torch.equal(mask, own)


def test_a_resumed_run_ends_with_the_same_bits(squares, tmp_path, tool):
    config, options = squares / 'distilled.py', ('--cfg-options', 'train_cfg.max_epochs=1')
    first = tool('train.py', config, '--work-dir', tmp_path / 'run', *options)
    assert first.code == 0, first.err
    resumed = tool('train.py', config, '--work-dir', tmp_path / 'run', '--resume')
    assert resumed.code == 0, resumed.err
    expected = weights(squares / 'run' / 'epoch_2.pth')
    found = weights(tmp_path / 'run' / 'epoch_2.pth')
    assert expected.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


def change_size(data: Path) -> None:
    cv2.imwrite(str(data / 'labels' / '3.png'), np.zeros((SIZE, SIZE // 2), np.uint8))


def change_label(data: Path) -> None:
    mask = cv2.imread(str(data / 'labels' / '3.png'), cv2.IMREAD_UNCHANGED)
    mask[:] = 7
    cv2.imwrite(str(data / 'labels' / '3.png'), mask)


def colour(data: Path) -> None:
    cv2.imwrite(str(data / 'labels' / '3.png'), np.zeros((SIZE, SIZE, 3), np.uint8))


def damage(data: Path) -> None:
    (data / 'labels' / '3.png').write_text('nothing')


def remove_mask(data: Path) -> None:
    (data / 'labels' / '3.png').unlink()


def remove_image(data: Path) -> None:
    (data / 'images' / '3.png').unlink()


def remove_folder(data: Path) -> None:
    shutil.rmtree(data / 'labels')


def rename_images(data: Path) -> None:
    for path in (data / 'images').iterdir():
        path.rename(path.with_suffix('.tif'))


@pytest.mark.parametrize('config', ['plain', 'distilled'])
@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (change_size, r'labels/3\.png has 16x32 pixels and its image \S+images/3\.png has 32x32'),
        (change_label, r'labels/3\.png has the label 7, and the 2 classes are 0 to 1 \(255 is ign'),
        (colour, r'labels/3\.png has 3 channels: a mask has one'),
        (damage, r'cannot read mask \S+labels/3\.png'),
        (
            remove_mask,
            r'train data: 1 of 6 images have no mask in \S+labels: \S+images/3\.png needs',
        ),
        (remove_image, r'train data: 1 masks in \S+labels have no image in \S+images'),
        (remove_folder, r'dataset\.data_prefix\.seg_map_path: no folder \S+labels; put the data'),
        (rename_images, r'dataset: no images \(\*\.png\) in \S+images: set img_suffix'),
    ],
)
def test_masks_that_do_not_fit_are_one_line(
    squares, tmp_path, tool, only_error, config, change, message
):
    shutil.copytree(squares / 'data', tmp_path / 'data')
    change(tmp_path / 'data')
    text = (squares / f'{config}.py').read_text()
    (tmp_path / 'own.py').write_text(text.replace(str(squares / 'data'), str(tmp_path / 'data')))
    finished = tool('train.py', tmp_path / 'own.py', '--work-dir', tmp_path / 'run')
    assert re.search(message, only_error(finished))


def test_heads_of_other_classes_than_the_data_are_one_line(squares, tmp_path, tool, only_error):
    finished = tool(
        *('train.py', squares / 'plain.py', '--work-dir', tmp_path / 'run'),
        *('--cfg-options', 'model.decode_head.num_classes=3'),
    )
    assert 'decode_head has 3 classes and the train data 2 (membrane, cell)' in only_error(finished)


@pytest.mark.parametrize('variant', ['mi_x_si', 'mi_x_si_alone', 'ce'])
def test_wrap_writes_a_config_that_trains(squares, tmp_path, tool, variant):
    out = tmp_path / 'wrapped.py'
    finished = tool('wrap.py', squares / 'plain.py', '--variant', variant, '--out', out)
    assert finished.code == 0, finished.err
    model = Config.fromfile(out).model
    assert model.taps.last == 'backbone.decoder.0'
    assert ('logits' in model.taps) == (variant != 'mi_x_si_alone')
    finished = tool(
        *('train.py', out, '--work-dir', tmp_path / 'run'),
        *('--cfg-options', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1'),
    )
    assert finished.code == 0, finished.err
    assert ('exit1/mIoU' in finished.out + finished.err) == (variant != 'mi_x_si_alone')


@pytest.fixture(scope='module')
def exported(squares) -> dict[str, Path]:
    """Folders of exports: the full segmenter, both exits, and an exit with classes inside."""
    folders = {}
    for name, flags in (
        ('full', ['--onnx']),
        ('exit2', ['--exit', '2', '--onnx', '--int8', '--max-int8-loss', '100', '--data']),
        ('exit3', ['--exit', '3', '--onnx']),
        ('classes', ['--exit', '3', '--argmax']),
    ):
        folders[name] = squares / name
        checkpoint = squares / 'run' / 'epoch_2.pth'
        arguments = ('export.py', squares / 'distilled.py', checkpoint, '--out', squares / name)
        assert run_command(*arguments, *flags) == 0
    return folders


ALONE = """
import csv
import json
import sys

import mmmuse.compat


class Hidden:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.startswith('mmmuse.') and not name.startswith(('mmmuse.compat', 'mmmuse.errors')):
            raise ModuleNotFoundError(f'{name} is hidden')


sys.meta_path.insert(0, Hidden)

import numpy as np
from mmseg.apis import inference_model, init_model

folders, images = map(json.loads, sys.argv[1:])
for folder in folders:
    model = init_model(f'{folder}/config.py', f'{folder}/checkpoint.pth', device='cpu')
    masks = [inference_model(model, image).pred_sem_seg.data[0].numpy() for image in images]
    np.save(f'{folder}/masks.npy', masks)
"""


@pytest.fixture(scope='module')
def by_mmseg(squares, exported) -> dict[str, np.ndarray]:
    """Masks of the exported segmenters by mmseg, in a process without mmmuse but for mmcv's ops."""
    folders = {name: str(exported[name]) for name in ('full', 'exit2', 'exit3')}
    arguments = (list(folders.values()), images_of(squares))
    alone = subprocess.run(
        [sys.executable, '-c', ALONE, *map(json.dumps, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert alone.returncode == 0, alone.stderr
    return {name: np.load(f'{folder}/masks.npy') for name, folder in folders.items()}


def images_of(squares: Path) -> list[str]:
    return [str(squares / 'data' / 'images' / f'{each}.png') for each in NAMES]


@pytest.mark.parametrize('name', ['full', 'exit2', 'exit3'])
def test_an_export_has_the_masks_of_the_exit_in_plain_mmseg_and_onnx(
    squares, exported, by_mmseg, name
):
    images = images_of(squares)
    with DefaultScope.overwrite_default_scope('mmseg'):
        distiller = trained(squares)
        found = [inference_model(distiller, image) for image in images]
    field = 'pred_sem_seg' if name == 'full' else f'{name}_sem_seg'
    expected = [sample.get(field).data[0].numpy() for sample in found]
    for mask, own in zip(by_mmseg[name], expected):
        assert np.array_equal(mask, own)
    run = onnx_function(exported[name] / 'segmenter.onnx')
    for image, own in zip(images, expected):
        data = distiller.data_preprocessor(
            dict(inputs=[torch.from_numpy(cv2.imread(image)).permute(2, 0, 1)]), False
        )
        assert np.array_equal(run(data['inputs']).argmax(1)[0].numpy(), own)


def test_classes_inside_the_onnx_file_are_those_of_its_logits(squares, exported):
    images = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    masks = onnx_function(exported['classes'] / 'segmenter.onnx')(images)
    logits = onnx_function(exported['exit3'] / 'segmenter.onnx')(images)
    assert masks.shape == (2, SIZE, SIZE)
    assert torch.equal(masks, logits.argmax(1))


def quantized_weights(path: Path) -> int:
    import onnx

    tensors = onnx.load(path).graph.initializer
    return sum(
        tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4 for tensor in tensors
    )


def test_an_exit_is_smaller_than_the_segmenter_and_the_report_has_every_form(exported):
    report = json.loads((exported['exit2'] / 'report.json').read_text())
    forms = report['forms']
    assert list(forms) == ['original', 'mmseg', 'ONNX', 'ONNX int8']
    assert forms['mmseg']['macs'] < forms['original']['macs']
    assert forms['mmseg']['params'] < forms['original']['params']
    assert forms['mmseg']['other_pixels'] == forms['ONNX']['other_pixels'] == 0
    assert forms['mmseg']['mIoU'] == forms['ONNX']['mIoU'] > 0
    if torch.__version__ >= '2.5':  # Older exporters add more nodes than this small network saves.
        assert forms['ONNX int8']['bytes'] < forms['ONNX']['bytes']
    assert quantized_weights(exported['exit2'] / 'network_int8.onnx') > 0
    assert quantized_weights(exported['exit2'] / 'segmenter.onnx') == 0


def test_flags_of_other_networks_are_refused(squares, tmp_path, tool, only_error):
    arguments = ('export.py', squares / 'distilled.py', squares / 'run' / 'epoch_2.pth')
    finished = tool(*arguments, '--out', tmp_path / 'new', '--nms')
    assert only_error(finished) == 'error: --nms is not supported for a segmenter'


def test_pictures_have_the_masks_side_by_side(squares, tmp_path, tool):
    checkpoint = squares / 'run' / 'epoch_2.pth'
    arguments = ('analysis/show_detections.py', squares / 'distilled.py', checkpoint)
    finished = tool(*arguments, '--images', '1', '--out', tmp_path / 'pictures')
    assert finished.code == 0, finished.err
    assert '1 picture of image, ground truth, segmenter, exit 2, exit 3' in finished.out
    assert [path.name for path in (tmp_path / 'pictures').iterdir()] == ['0.png']
    file = str(squares / 'data' / 'images' / '4.png')
    finished = tool(*arguments, '--image-files', file, '--out', tmp_path / 'files')
    assert '1 picture of image, segmenter, exit 2, exit 3' in finished.out


def test_early_exit_chooses_thresholds_by_windows_and_measures_the_miou(squares, tmp_path, tool):
    checkpoint, out = squares / 'run' / 'epoch_2.pth', tmp_path / 'early'
    windows = [
        f'model.student.test_cfg.{each}'
        for each in ('mode=slide', 'crop_size=(16,16)', 'stride=(16,16)')
    ]
    finished = tool(
        *('analysis/early_exit.py', squares / 'distilled.py', checkpoint, '--out', out),
        *('--costs', 0.9, '--latency-images', 1, '--cfg-options', *windows),
    )
    assert finished.code == 0, finished.err
    with (out / 'early_exit.csv').open(newline='') as file:
        *fixed, early = csv.DictReader(file)
    assert [row['network'] for row in fixed] == ['exit 2', 'exit 3', 'exit 4']
    images = ['test_dataloader.dataset.indices=[1,3,5]', *windows]
    tested = tool('test.py', squares / 'distilled.py', checkpoint, '--cfg-options', *images)
    for row, name in zip(fixed, ('exit2/mIoU', 'exit3/mIoU', 'mIoU')):
        (value,) = re.findall(rf'(?<![\w/]){name}: (\S+)', tested.out + tested.err)
        assert float(row['mIoU']) == pytest.approx(float(value), abs=0.01)
    thresholds = '[' + ','.join(early['thresholds'].split()) + ']'
    options = ['model.type=mmmuse.EarlyExitSegmenter', f'model.thresholds={thresholds}', *images]
    tested = tool('test.py', squares / 'distilled.py', checkpoint, '--cfg-options', *options)
    (value,) = re.findall(r'(?<![\w/])mIoU: (\S+)', tested.out + tested.err)
    assert float(early['mIoU']) == pytest.approx(float(value), abs=0.01)
    shares = list(map(float, early['shares'].split()))
    assert len(shares) == 3
    assert sum(shares) == pytest.approx(1, abs=2e-3)
    # Each of three images has four windows.
    assert all((12 * share) == pytest.approx(round(12 * share), abs=0.02) for share in shares)
    assert 'shares are of the windows' in ' '.join(finished.out.split())


@pytest.mark.parametrize(
    'options', [[], ['--cfg-options', 'model.head=None']], ids=['muse', 'exits']
)
def test_complexity_has_a_row_for_each_exit_of_a_segmenter(squares, tool, tmp_path, options):
    path = tmp_path / 'complexity.json'
    flags = ['--input-shape', 3, SIZE, SIZE, '--json', path, *options]
    finished = tool('analysis/complexity.py', squares / 'distilled.py', *flags)
    assert finished.code == 0, finished.err
    rows = json.loads(path.read_text())['exits']
    assert [row['exit'] for row in rows] == [2, 3, 4]
    assert 0 < rows[0]['macs'] < rows[1]['macs'] < rows[2]['macs']
    plain = load_config(str(squares / 'plain.py'), {})
    with DefaultScope.overwrite_default_scope('mmseg'):
        parameters = init_model(plain, device='cpu').parameters()
    assert rows[2]['params'] == sum(parameter.numel() for parameter in parameters)


def test_complexity_of_a_segmenter_without_exits_is_refused(squares, tool, only_error):
    assert only_error(tool('analysis/complexity.py', squares / 'plain.py')) == (
        'error: the config has no exits: its model is EncoderDecoder, not '
        'mmmuse.SegmentationSelfDistiller; mmmuse wrap adds exits to a config'
    )


def test_early_exit_of_a_segmenter_without_exits_is_refused(squares, tmp_path, tool, only_error):
    checkpoint = squares / 'run' / 'epoch_2.pth'
    arguments = (
        'analysis/early_exit.py',
        squares / 'plain.py',
        checkpoint,
        '--out',
        tmp_path / 'a',
    )
    assert only_error(tool(*arguments)) == (
        'error: the config has no exits: its model is EncoderDecoder, not '
        'mmmuse.SegmentationSelfDistiller'
    )
