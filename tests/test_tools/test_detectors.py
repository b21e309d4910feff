"""A detector with an exit by the command lines, on drawn squares."""

import argparse
import json
import math
import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import init_detector
from mmengine.registry import DefaultScope
from mmengine.runner import Runner, set_random_seed
from torch import Tensor

from mmmuse.command_line.config import apply_shared_flags, load_config
from mmmuse.commands.parsers.shared import add_run_flags
from mmmuse.detection import DetectionSelfDistiller
from mmmuse.registry import MODELS, OPTIM_WRAPPERS

from .conftest import ROOT, _forget_runs, run_command
from .test_train import scalars

SIZE, CLASSES = 64, ('red', 'blue')
TRAINED, EVALUATED = 8, 3
COCO_DETECTOR = ROOT / 'configs' / 'detection' / 'yolov5_s_coco.py'
COCO_DISTILLED = ROOT / 'configs' / 'detection' / 'yolov5_s_coco_mi_x_si.py'
FASTER_RCNN = ROOT / 'configs' / 'examples' / 'faster-rcnn_r50_coco_mi_x_si.py'
OWN_LOSSES = {'loss_bbox', 'loss_obj', 'loss_cls'}
EXIT_LOSSES = {f'exit1.{name}' for name in OWN_LOSSES}
SMALL = """
    backbone=dict(widen_factor=0.125),
    neck=dict(in_channels=[32, 64, 128]),
    bbox_head=dict(num_classes=2, in_channels=[32, 64, 128]),
    test_cfg=dict(max_per_img=10),
"""
OF_EXITS = "[coco, dict(type='mmmuse.ExitDetectionMetric', metric=coco)]"
# An average that soon differs from the weights; every step is logged.
CONFIG = """
_base_ = {base!r}
data_root = {root!r}
img_scale = (64, 64)
metainfo = dict(classes=('red', 'blue'))
model = dict({model})
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    dataset=dict(
        dataset=dict(
            data_root=data_root,
            ann_file='train.json',
            data_prefix=dict(img='images/'),
            metainfo=metainfo,
        ),
        pipeline=[
            dict(type='Mosaic', img_scale=img_scale, pad_val=114.0),
            dict(
                type='RandomAffine',
                max_rotate_degree=0.0,
                max_shear_degree=0.0,
                scaling_ratio_range=(0.8, 1.2),
                border=(-32, -32),
                border_val=(114, 114, 114),
            ),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackDetInputs'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=3,
    num_workers=0,
    dataset=dict(
        data_root=data_root,
        ann_file='val.json',
        data_prefix=dict(img='images/'),
        metainfo=metainfo,
        pipeline=[
            dict(type='mmmuse.LoadCheckedImage'),
            dict(type='Resize', scale=img_scale, keep_ratio=True),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(
                type='PackDetInputs',
                meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
            ),
        ],
    ),
)
test_dataloader = val_dataloader
coco = dict(type='CocoMetric', ann_file=data_root + 'val.json', metric='bbox')
val_evaluator = {evaluator}
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=2, val_interval=1)
default_hooks = dict(logger=dict(interval=1))
log_processor = dict(window_size=1)
custom_hooks = [dict(_base_.custom_hooks[0], gamma=2)]
"""


def write_annotations(path: Path, names: list[str], more: list[dict], generator) -> None:
    """Draw an image for each name and write its squares: one of either class; then those given."""
    images, annotations = [], []
    for number, name in enumerate(names):
        width = SIZE if number % 2 else SIZE - 16
        image = np.full((SIZE, width, 3), 120, np.uint8)
        for label, colour in enumerate([(0, 0, 255), (255, 0, 0)]):
            side = int(generator.integers(12, 24))
            x, y = (int(value) for value in generator.integers(0, width - side, 2))
            image[y : y + side, x : x + side] = colour
            box = dict(image_id=number, category_id=label, bbox=[x, y, side, side], iscrowd=0)
            annotations.append(box)
        assert cv2.imwrite(str(path.parent / 'images' / name), image)
        images.append(dict(id=number, file_name=name, width=width, height=SIZE))
    for number, box in enumerate([*annotations, *more], 1):
        box.update(id=number, area=box['bbox'][2] * box['bbox'][3])
    categories = [dict(id=number, name=name) for number, name in enumerate(CLASSES)]
    content = dict(images=images, annotations=[*annotations, *more], categories=categories)
    path.write_text(json.dumps(content))


def write_data(folder: Path) -> Path:
    """COCO's files of a few images, with a crowd, and a box outside its image in training."""
    (folder / 'images').mkdir(parents=True)
    generator = np.random.default_rng(0)
    crowd = dict(image_id=1, category_id=0, bbox=[0, 0, 30, 30], iscrowd=1)
    outside = dict(image_id=2, category_id=1, bbox=[70, 70, 10, 10], iscrowd=0)
    names = [f'train{number}.png' for number in range(TRAINED)]
    write_annotations(folder / 'train.json', names, [dict(crowd), outside], generator)
    names = [f'val{number}.png' for number in range(EVALUATED)]
    write_annotations(folder / 'val.json', names, [dict(crowd)], generator)
    return folder


def write_configs(folder: Path, data: Path) -> None:
    """The shipped configs an eighth as wide: ``plain.py``, ``distilled.py``, and one without EMA."""
    for name, base, model, evaluator in (
        ('plain', COCO_DETECTOR, SMALL, 'coco'),
        ('distilled', COCO_DISTILLED, f'student=dict({SMALL})', OF_EXITS),
    ):
        text = CONFIG.format(base=str(base), root=f'{data}/', model=model, evaluator=evaluator)
        (folder / f'{name}.py').write_text(text)
    (folder / 'without_ema.py').write_text("_base_ = 'distilled.py'\ncustom_hooks = []\n")


@pytest.fixture(autouse=True)
def _fresh():
    yield
    _forget_runs()


@pytest.fixture(scope='module')
def squares(tmp_path_factory) -> Path:
    """A folder with data and configs."""
    folder = tmp_path_factory.mktemp('squares')
    write_configs(folder, write_data(folder / 'data'))
    return folder


@pytest.fixture(scope='module')
def trained(squares) -> Path:
    """The work dir of two epochs of the distilled detector."""
    work_dir = squares / 'run'
    assert run_command('train.py', squares / 'distilled.py', '--work-dir', work_dir) == 0
    return work_dir


@pytest.fixture
def broken(tmp_path) -> Path:
    """A folder with configs, and data of which the images may be damaged."""
    write_configs(tmp_path, write_data(tmp_path / 'data'))
    return tmp_path


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def log_of(work_dir: Path) -> str:
    return ''.join(path.read_text() for path in work_dir.glob('*/*.log'))


def steps(work_dir: Path) -> list[dict]:
    return [record for record in scalars(work_dir) if 'loss' in record]


def with_shared_flags(path: Path):
    """A config as train.py and test.py make it."""
    parser = argparse.ArgumentParser()
    parser.add_argument('config')
    add_run_flags(parser)
    config = load_config(str(path), {})
    apply_shared_flags(config, parser.parse_args([str(path)]))
    return config


def batch_of(config, split: str) -> dict:
    set_random_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return next(iter(Runner.build_dataloader(config[f'{split}_dataloader'], seed=0)))


def built(config) -> DetectionSelfDistiller:
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(config.model)
        model.init_weights()
    return model


def assert_same_boxes(found: dict, expected: dict) -> None:
    assert len(found['scores']) > 0
    for key in ('bboxes', 'scores', 'labels'):
        assert torch.equal(found[key], expected[key])


def test_each_step_logs_the_losses_of_detector_exit_and_muse(trained):
    found = steps(trained)
    assert [(record['epoch'], record['step']) for record in found] == [
        (1, 1),
        (1, 2),
        (2, 3),
        (2, 4),
    ]
    for record in found:
        assert OWN_LOSSES | EXIT_LOSSES | {'mi_loss_1', 'si_loss_1', 'loss_muse'} <= set(record)
        total = sum(record[name] for name in [*OWN_LOSSES, *EXIT_LOSSES, 'loss_muse'])
        assert record['loss'] == pytest.approx(total)
        assert math.isfinite(total)


def test_detector_and_exit_are_evaluated_in_each_epoch(trained):
    found = [record for record in scalars(trained) if 'coco/bbox_mAP' in record]
    assert [record['step'] for record in found] == [1, 2]
    assert all('exit1/coco/bbox_mAP' in record for record in found)
    assert list(trained.glob('best_coco_bbox_mAP_epoch_*.pth'))


def test_a_box_outside_its_image_is_left_out_and_logged(squares, trained):
    # The crowd box is valid, and the other boxes are inside their images.
    line = f'{squares}/data/train.json: boxes 1 outside their image (left out)'
    assert [said.rpartition(' - ')[2] for said in log_of(trained).splitlines() if line in said] == [
        line
    ]
    config = with_shared_flags(squares / 'plain.py')
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = Runner.build_dataloader(config.train_dataloader).dataset.dataset
    assert len(dataset.get_data_info(2)['instances']) == 2
    assert len(dataset.get_data_info(1)['instances']) == 3


def test_mmdet_loads_the_checkpoint_as_the_plain_detector_and_predicts_the_same(squares, trained):
    saved = torch.load(trained / 'epoch_2.pth', weights_only=False)
    plain = init_detector(
        str(squares / 'plain.py'), str(trained / 'epoch_2.pth'), device='cpu', palette='random'
    )
    assert set(plain.state_dict()) == set(saved['state_dict'])
    assert plain.dataset_meta['classes'] == CLASSES
    for name, value in plain.state_dict().items():
        assert torch.equal(value, saved['state_dict'][name]), name
    # What was saved is the average, and beside it are the weights.
    weights = saved['ema_state_dict']['module.backbone.stem.conv.conv.weight']
    assert not torch.equal(weights, saved['state_dict']['backbone.stem.conv.conv.weight'])

    config = with_shared_flags(squares / 'distilled.py')
    distiller = built(config)
    student = {f'student.{name}': value for name, value in saved['state_dict'].items()}
    distiller.load_state_dict({**student, **saved['distiller']}, strict=True)
    batch = batch_of(config, 'val')
    with torch.no_grad():
        expected = plain.eval().test_step(batch)
        found = distiller.eval().test_step(batch)
    assert len(found) == EVALUATED
    for one, other in zip(expected, found):
        assert_same_boxes(other.pred_instances, one.pred_instances)
        assert len(other.exit1_instances) > 0
        assert not torch.equal(other.exit1_instances.bboxes, other.pred_instances.bboxes)
        assert 'exit1_instances' not in one


def test_testing_the_plain_and_the_distilled_config_finds_the_same_boxes(
    tool, squares, trained, tmp_path
):
    found = {}
    for name in ('plain', 'distilled'):
        out = tmp_path / f'{name}.pkl'
        flags = ['--work-dir', tmp_path / name, '--out', out]
        finished = tool('test.py', squares / f'{name}.py', trained / 'epoch_2.pth', *flags)
        assert finished.code == 0, finished.err
        found[name] = pickle.loads(out.read_bytes())
        (metrics,) = tmp_path.glob(f'{name}/*/*.json')
        metrics = json.loads(metrics.read_text())
        assert 'coco/bbox_mAP' in metrics
        assert ('exit1/coco/bbox_mAP' in metrics) == (name == 'distilled')
    assert len(found['plain']) == len(found['distilled']) == EVALUATED
    for plain, distilled in zip(found['plain'], found['distilled']):
        assert_same_boxes(distilled['pred_instances'], plain['pred_instances'])


@pytest.mark.parametrize('name', ['distilled', 'without_ema'])
def test_a_resumed_run_takes_the_step_that_an_uninterrupted_one_takes(
    tool, squares, request, tmp_path, name
):
    config = squares / f'{name}.py'
    if name == 'distilled':
        straight = request.getfixturevalue('trained')
    else:
        straight = tmp_path / 'straight'
        assert tool('train.py', config, '--work-dir', straight, '--no-validate').code == 0
    resumed = tmp_path / 'resumed'
    flags = ['--work-dir', resumed, '--no-validate', '--resume', straight / 'epoch_1.pth']
    finished = tool('train.py', config, *flags)
    assert finished.code == 0, finished.err
    found, expected = steps(resumed), steps(straight)[2:]
    names = {
        name for name in expected[0] if 'loss' in name or name in ('mi_loss_1', 'si_loss_1', 'lr')
    }
    assert [(record['epoch'], record['step']) for record in found] == [(2, 3), (2, 4)]
    assert [{name: record[name] for name in names} for record in found] == [
        {name: record[name] for name in names} for record in expected
    ]
    last, other = (
        torch.load(run / 'epoch_2.pth', weights_only=False) for run in (resumed, straight)
    )
    for part in ('state_dict', 'distiller'):
        assert last[part].keys() == other[part].keys()
        assert all(torch.equal(value, other[part][key]) for key, value in last[part].items())


def test_amp_trains_in_bfloat16_on_a_cpu(tool, squares, tmp_path):
    flags = ['--work-dir', tmp_path / 'run', '--amp', '--no-validate']
    finished = tool('train.py', squares / 'distilled.py', *flags)
    assert finished.code == 0, finished.err
    assert "type='mmmuse.BFloat16OptimWrapper'" in (tmp_path / 'run' / 'distilled.py').read_text()
    assert len(steps(tmp_path / 'run')) == 4
    assert all(math.isfinite(record['loss']) for record in steps(tmp_path / 'run'))


def test_a_step_in_bfloat16_has_float32_losses_close_to_those_of_float32(squares):
    config = with_shared_flags(squares / 'distilled.py')
    model = built(config).train()
    batch = model.data_preprocessor(batch_of(config, 'train'), True)

    def losses() -> dict[str, Tensor]:
        return model(**batch, mode='loss')

    expected = losses()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    wrapper = OPTIM_WRAPPERS.build(dict(type='mmmuse.BFloat16OptimWrapper', optimizer=optimizer))
    with wrapper.optim_context(model):
        found = losses()
    assert {loss.dtype for loss in found.values()} == {torch.float32}
    assert all(torch.isfinite(loss) for loss in found.values())
    for name in OWN_LOSSES | EXIT_LOSSES:
        torch.testing.assert_close(found[name], expected[name], rtol=0.05, atol=0)
        assert found[name] != expected[name], f'{name} was not computed of bfloat16 features'
    model.parse_losses(found)[0].backward()
    assert all(torch.isfinite(value.grad).all() for value in model.parameters())


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_images_of_a_detector_come_as_a_list(squares, split):
    config = with_shared_flags(squares / 'plain.py')
    assert 'collate_fn' not in config[f'{split}_dataloader']
    batch = batch_of(config, split)
    assert isinstance(batch['inputs'], list)
    if split != 'train':  # They are of several shapes, which do not stack.
        assert {tuple(image.shape) for image in batch['inputs']} == {(3, 64, 48), (3, 64, 64)}


def test_batches_of_mmdets_own_configs_are_left_to_mmengine():
    config = with_shared_flags(FASTER_RCNN)
    for split in ('train', 'val', 'test'):
        assert 'collate_fn' not in config[f'{split}_dataloader']


def test_batches_of_a_classifier_are_stacked_all_the_same(tmp_path):
    path = tmp_path / 'classifier.py'
    loader = dict(
        batch_size=2, sampler=dict(type='DefaultSampler'), dataset=dict(type='mmmuse.BatchedDigits')
    )
    path.write_text(f"default_scope = 'mmpretrain'\ntrain_dataloader = {loader!r}\n")
    loader = with_shared_flags(path).train_dataloader
    assert loader.collate_fn == dict(type='default_collate')


TRAIN_SET = 'train_dataloader.dataset.dataset'


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ([f'{TRAIN_SET}.ann_file=no.json'], '/data/no.json'),
        (['val_dataloader.dataset.ann_file=no.json'], 'annotation file not found'),
        (['val_evaluator.0.ann_file=no.json'], 'no such file: no.json'),
        ([f'{TRAIN_SET}.metainfo.classes=[red,green]'],
         'the classes of the data set are red, green and the categories of its annotation file '
         'red, blue: set metainfo.classes'),
        ([f'{TRAIN_SET}.metainfo.classes=[red]'],
         'student.bbox_head has 2 classes and the train data 1 (red): set num_classes'),
        (['val_dataloader.dataset.metainfo.classes=[blue]'],
         'student.bbox_head has 2 classes and the val data 1 (blue)'),
        (['model.student.bbox_head.num_classes=3'],
         'student.bbox_head has 3 classes and the train data 2 (red, blue): set num_classes'),
        (['model.taps.modules=[bbox_head.loss_cls]'],
         "tapped module 'bbox_head.loss_cls' was not reached by the forward"),
        (['model.taps.modules=[backbone.stage5]'],
         "has no module 'backbone.stage5'; nearest: 'backbone.stage"),
        (['train_dataloader.batch_size=1'], 'a batch needs at least 2 images, got 1'),
        (['model.exit_modules=[2]'], 'exit_modules is a list of some of the modules 1 to 1'),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_leaves_nothing(
    tool, only_error, squares, tmp_path, options, said
):
    flags = ['--work-dir', tmp_path / 'deep' / 'run', '--cfg-options']
    line = only_error(tool('train.py', squares / 'distilled.py', *flags, *options))
    assert said in line
    assert list(tmp_path.iterdir()) == []


def test_an_exit_of_a_detector_of_two_stages_is_refused(tool, only_error, tmp_path):
    flags = ['--work-dir', tmp_path / 'run', '--cfg-options']
    # The model is built before the data sets, whose files are not here.
    elsewhere = [f'{split}_dataloader.dataset.type=mine.Data' for split in ('train', 'val')]
    options = ['model.type=mmmuse.DetectionSelfDistiller', *elsewhere]
    line = only_error(tool('train.py', FASTER_RCNN, *flags, *options))
    assert 'FasterRCNN has none. Without exits take mmmuse.SelfDistiller' in line
    assert list(tmp_path.iterdir()) == []


def test_a_detector_is_not_tested_on_data_of_other_classes(
    tool, only_error, squares, trained, tmp_path
):
    flags = ['--work-dir', tmp_path / 'run', '--cfg-options']
    options = ['test_dataloader.dataset.metainfo.classes=[red]']
    files = [squares / 'plain.py', trained / 'epoch_2.pth']
    line = only_error(tool('test.py', *files, *flags, *options))
    assert 'bbox_head has 2 classes and the test data 1 (red)' in line
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_is_cut_off_stops_training_with_its_name(tool, only_error, broken):
    for path in (broken / 'data' / 'images').glob('train*.png'):
        cut_in_half(path)
    before = sorted(broken.rglob('*'))
    line = only_error(tool('train.py', broken / 'plain.py', '--work-dir', broken / 'run'))
    assert line.startswith(f'error: cannot read image {broken}/data/images/train')
    assert line.endswith('.png: not an image')
    assert sorted(broken.rglob('*')) == before


def test_training_goes_on_without_images_that_are_skipped(tool, broken):
    shutil.copy(broken / 'plain.py', broken / 'data' / 'images' / 'train3.png')
    flags = ['--work-dir', broken / 'run', '--no-validate', '--cfg-options']
    options = [f'{TRAIN_SET}.pipeline.0.unreadable=skip', 'train_cfg.max_epochs=1']
    finished = tool('train.py', broken / 'plain.py', *flags, *options)
    assert finished.code == 0, finished.err
    said = [line for line in log_of(broken / 'run').splitlines() if 'cannot read image' in line]
    assert len(said) > 0
    assert all(f'{broken}/data/images/train3.png: not an image' in line for line in said)
    assert [line.rpartition('; ')[2] for line in said] == [
        f'skipped, {number} so far' for number in range(1, len(said) + 1)
    ]
    assert len(steps(broken / 'run')) == 2
