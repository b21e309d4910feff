"""Pictures of detections by their command line, with an untrained detector on drawn squares."""

import json

import cv2
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from mmdet.apis import inference_detector
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmmuse.analysis.detection_figure import predictions
from mmmuse.checkpoints import load_distiller
from mmmuse.command_line.config import load_config
from mmmuse.errors import InputError
from mmmuse.registry import MODELS

from ..test_distillers.detectors import detr
from .conftest import ROOT

TOOL = 'analysis/show_detections.py'
SIZE = 64
# Of each image its squares: class, then left, upper, width and height.
SQUARES = {
    'first.jpg': [(0, [8, 8, 20, 20]), (1, [30, 40, 16, 16])],
    'second.jpg': [(1, [4, 30, 24, 24])],
    'third.jpg': [],
}
CLASSES = ['red', 'blue']
CONFIG = """
_base_ = {base!r}
model = dict({model})
val_dataloader = dict(
    num_workers=0,
    dataset=dict(
        data_root={root!r},
        ann_file='squares.json',
        data_prefix=dict(img='images/'),
        metainfo=dict(classes={classes}),
        pipeline=[
            dict(type='mmmuse.LoadCheckedImage'),
            dict(type='Resize', scale=(128, 128), keep_ratio=True),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(
                type='PackDetInputs',
                meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
            ),
        ],
    ),
)
test_dataloader = val_dataloader
"""
SMALL = """
    backbone=dict(widen_factor=0.125),
    neck=dict(in_channels=[32, 64, 128]),
    bbox_head=dict(num_classes=2, in_channels=[32, 64, 128]),
    test_cfg=dict(max_per_img=5),
"""


def write_config(path, name, model):
    base = str(ROOT / 'configs' / 'detection' / name)
    path.write_text(CONFIG.format(base=base, model=model, root=f'{path.parent}/', classes=CLASSES))
    return path


def write_squares(folder):
    (folder / 'images').mkdir()
    boxes = []
    for number, (name, squares) in enumerate(SQUARES.items()):
        image = np.full((SIZE, SIZE, 3), 200, np.uint8)
        for label, (x, y, width, height) in squares:
            image[y : y + height, x : x + width] = (0, 0, 255) if label == 0 else (255, 0, 0)
            boxes.append((number, label, [x, y, width, height]))
        cv2.imwrite(str(folder / 'images' / name), image)
    content = dict(
        images=[
            dict(id=i, file_name=name, width=SIZE, height=SIZE) for i, name in enumerate(SQUARES)
        ],
        categories=[dict(id=i, name=name) for i, name in enumerate(CLASSES)],
        annotations=[
            dict(
                id=i,
                image_id=image,
                category_id=label,
                bbox=box,
                area=box[2] * box[3],
                iscrowd=0,
            )
            for i, (image, label, box) in enumerate(boxes, 1)
        ],
    )
    (folder / 'squares.json').write_text(json.dumps(content))


def write_checkpoint(config, path, **more):
    """Save what training saves: the student under its own names, the rest beside."""
    loaded = load_config(str(config), {})
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(loaded.model)
        model.init_weights()
    weights = model.state_dict()
    student = {
        name.removeprefix('student.'): value
        for name, value in weights.items()
        if name.startswith('student.')
    }
    rest = {name: value for name, value in weights.items() if not name.startswith('student.')}
    content = dict(state_dict=student, distiller=rest) if student else dict(state_dict=rest)
    content['meta'] = dict(dataset_meta=dict(classes=CLASSES), **more)
    torch.save(content, path)
    return path


@pytest.fixture(scope='module')
def squares(tmp_path_factory):
    """A folder with images, and config and checkpoint of a plain detector and a distilled one."""
    folder = tmp_path_factory.mktemp('squares')
    write_squares(folder)
    plain = write_config(folder / 'plain.py', 'yolov5_s_coco.py', SMALL)
    distilled = write_config(
        folder / 'distilled.py', 'yolov5_s_coco_mi_x_si.py', f'student=dict({SMALL})'
    )
    write_checkpoint(plain, folder / 'plain.pth')
    write_checkpoint(distilled, folder / 'distilled.pth')
    return folder


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved, by the names of their files."""
    figures = {}
    savefig = Figure.savefig

    def save(figure, path, **options):
        figures[path.name] = figure
        savefig(figure, path, **options)

    monkeypatch.setattr(Figure, 'savefig', save)
    return figures


def kind_of(axis):
    return axis.get_title().partition(':')[0]


def boxes_of(axis):
    return [list(map(float, patch.get_bbox().bounds)) for patch in axis.patches]


def test_each_image_gets_a_picture_of_ground_truth_detector_and_exits(
    tool, squares, drawn, tmp_path, lines_of_progress
):
    out = tmp_path / 'out'
    flags = ['--out', out, '--score', 0]
    finished = tool(TOOL, squares / 'distilled.py', squares / 'distilled.pth', *flags)
    assert finished.code == 0, finished.err
    assert 'building the detector: ' in finished.err
    assert 'drawing the pictures: 1 of 8, about ' in finished.err
    assert 'drawing' not in finished.out
    names = ['first.png', 'second.png', 'third.png']
    assert sorted(path.name for path in out.iterdir()) == names == list(drawn)
    assert f'written to {out}: 3 pictures of ground truth, detector, exit 1' in finished.out
    for name, expected in zip(names, SQUARES.values()):
        height, width = cv2.imread(str(out / name)).shape[:2]
        assert width > 2 * height
        truth, *found = drawn[name].axes
        assert boxes_of(truth) == [box for _, box in expected]
        assert [text.get_text() for text in truth.texts] == [CLASSES[i] for i, _ in expected]
        assert [kind_of(axis) for axis in found] == ['Detector', 'Exit 1']
        for axis in found:
            assert axis.get_title() == f'{kind_of(axis)}: 5 boxes'
            assert len(axis.patches) == len(axis.texts) == 5
            assert max(x + width for x, _, width, _ in boxes_of(axis)) <= SIZE + 1e-3
        assert boxes_of(found[0]) != boxes_of(found[1])
        image = truth.images[0].get_array()
        assert image.shape == (SIZE, SIZE, 3)
        for label, (x, y, *_) in expected:  # The colours of RGB, not of BGR.
            assert image[y + 8, x + 8].argmax() == 2 * label


def test_what_is_drawn_is_what_mmdets_own_inference_finds(tool, squares, drawn, tmp_path):
    config = load_config(str(squares / 'distilled.py'), {})
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(config.model).eval()
        load_distiller(model, str(squares / 'distilled.pth'))
        model.cfg = config
        found = inference_detector(model, [str(squares / 'images' / name) for name in SQUARES])
    arguments = [squares / 'distilled.py', squares / 'distilled.pth']
    assert tool(TOOL, *arguments, '--out', tmp_path / 'out', '--score', 0).code == 0
    for sample, figure in zip(found, drawn.values(), strict=True):
        for axis, field in zip(figure.axes[1:], ('pred_instances', 'exit1_instances'), strict=True):
            corners = [[x, y, x + width, y + height] for x, y, width, height in boxes_of(axis)]
            expected = sample.get(field).bboxes[sample.get(field).scores.argsort()]
            torch.testing.assert_close(torch.tensor(corners), expected, atol=1e-3, rtol=0)


def test_a_plain_detector_has_no_exits_and_a_threshold_leaves_boxes_out(
    tool, squares, drawn, tmp_path
):
    # The distilled checkpoint is one of the plain detector, too.
    for checkpoint in ('plain.pth', 'distilled.pth'):
        flags = ['--out', tmp_path / checkpoint, '--images', 1, '--split', 'test', '--score', 0.9]
        finished = tool(TOOL, squares / 'plain.py', squares / checkpoint, *flags)
        assert finished.code == 0, finished.err
        assert '1 picture of ground truth, detector\n' in finished.out
        assert [axis.get_title() for axis in drawn['first.png'].axes] == [
            'Ground truth: 2 boxes',
            'Detector: 0 boxes',
        ]
        assert list(drawn) == ['first.png']


def test_of_a_distiller_without_exits_the_student_alone_is_built(tool, squares, drawn, tmp_path):
    student = Config.fromfile(squares / 'plain.py').model.to_dict()
    model = dict(type='mmmuse.OfflineDistiller', student=student, teacher_checkpoint='nowhere.pth')
    config = tmp_path / 'offline.py'
    config.write_text(
        f'_base_ = {str(squares / "plain.py")!r}\nmodel = dict(_delete_=True, **{model!r})\n'
    )
    flags = ['--out', tmp_path / 'out', '--images', 1]
    finished = tool(TOOL, config, squares / 'plain.pth', *flags)
    assert finished.code == 0, finished.err
    assert [kind_of(axis) for axis in drawn['first.png'].axes] == ['Ground truth', 'Detector']


def test_image_files_have_no_ground_truth_and_need_no_data(tool, squares, drawn, tmp_path):
    (tmp_path / 'other').mkdir()
    other = tmp_path / 'other' / 'first.png'  # Of the same name, and of another shape.
    cv2.imwrite(str(other), np.zeros((30, 90, 3), np.uint8))
    out = tmp_path / 'out'
    flags = ['--out', out, '--image-files', squares / 'images' / 'first.jpg', other, '--score', 0]
    options = ['--cfg-options', 'val_dataloader.dataset.ann_file=nowhere.json']
    options += ['model.student.test_cfg.max_per_img=3']
    files = [squares / 'distilled.py', squares / 'distilled.pth']
    finished = tool(TOOL, *files, *flags, *options)
    assert finished.code == 0, finished.err
    assert sorted(path.name for path in out.iterdir()) == ['first.png', 'first_2.png']
    assert '2 pictures of detector, exit 1' in finished.out
    for figure in drawn.values():
        assert [axis.get_title() for axis in figure.axes] == [
            'Detector: 3 boxes',
            'Exit 1: 3 boxes',
        ]
    assert drawn['first_2.png'].axes[0].images[0].get_array().shape == (30, 90, 3)


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['--images', 0], '--images is at least 1, got 0'),
        (['--score', 1.5], '--score is between 0 and 1, got 1.5'),
        (['--score', 'nan'], '--score is between 0 and 1, got nan'),
        (['--image-files', 'no.jpg'], '--image-files no.jpg: no image no.jpg'),
        (['--image-files', 'README.md'], 'cannot read image README.md: not an image'),
        (['--cfg-options', 'val_dataloader=None'], 'the config has no val_dataloader'),
        (['--cfg-options', 'val_dataloader.dataset.ann_file=a.json'], 'annotation file not found'),
        (['--cfg-options', 'val_dataloader.dataset.metainfo.classes=[red]'],
         'trained on the classes red, blue and the data set of val_dataloader has red'),
        (['--cfg-options', 'val_dataloader.dataset.indices=0',
          'val_dataloader.dataset.serialize_data=False'], 'val_dataloader has no images'),
        (['--cfg-options', 'val_dataloader.dataset.data_prefix.img=nowhere'], 'file not found'),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_leaves_nothing(
    tool, only_error, squares, tmp_path, arguments, said
):
    files = [squares / 'plain.py', squares / 'plain.pth']
    assert said in only_error(tool(TOOL, *files, '--out', tmp_path / 'out', *arguments))
    assert list(tmp_path.iterdir()) == []


def test_bad_files_are_one_line_and_leave_nothing(tool, only_error, squares, tmp_path):
    work = tmp_path / 'work'
    work.mkdir()
    out = work / 'out'

    def refused(config, checkpoint, folder=out):
        line = only_error(tool(TOOL, config, checkpoint, '--out', folder))
        assert list(work.iterdir()) == []
        return line

    plain, distilled = squares / 'plain.py', squares / 'distilled.py'
    assert 'no config file none.py' in refused('none.py', squares / 'plain.pth')
    assert 'no checkpoint file none.pth' in refused(plain, 'none.pth')
    assert 'is truncated or not a checkpoint' in refused(plain, plain)
    assert "holds only the student's weights" in refused(distilled, squares / 'plain.pth')
    assert f'{squares} already exists' in refused(plain, squares / 'plain.pth', squares)
    assert 'no folder' in refused(plain, squares / 'plain.pth', work / 'deep' / 'out')
    classifier = ROOT / 'configs' / 'demo' / 'resnet18_digits.py'
    assert 'no detector of mmdet and no segmenter of mmseg: its model is ' in refused(
        classifier, squares / 'plain.pth'
    )

    other = write_config(
        squares / 'other.py', 'yolov5_s_coco.py', SMALL.replace('num_classes=2', 'num_classes=3')
    )
    said = refused(other, squares / 'plain.pth')
    assert 'plain.pth is of another network; these tensors differ: bbox_head.convs' in said


def test_a_checkpoint_of_other_exits_is_refused(tool, only_error, squares, tmp_path):
    content = torch.load(squares / 'distilled.pth')
    name = next(name for name in content['distiller'] if name.startswith('exits.'))
    del content['distiller'][name]
    torch.save(content, tmp_path / 'other.pth')
    said = only_error(
        tool(TOOL, squares / 'distilled.py', tmp_path / 'other.pth', '--out', tmp_path / 'out')
    )
    assert f'other.pth is of another exit; these tensors differ: {name}' in said


def test_a_file_that_could_run_code_is_loaded_only_on_request(tool, only_error, squares, tmp_path):
    files = [squares / 'plain.py', write_checkpoint(
        squares / 'plain.py', tmp_path / 'code.pth', options=Config()
    )]  # fmt: skip
    flags = ['--out', tmp_path / 'out', '--images', 1]
    assert 'pass --trust-checkpoint' in only_error(tool(TOOL, *files, *flags))
    assert tool(TOOL, *files, *flags, '--trust-checkpoint').code == 0


def test_a_detector_that_cannot_predict_is_one_line(tool, only_error, squares, tmp_path):
    config = tmp_path / 'config.py'
    model = {**detr(), 'test_cfg': dict(max_per_img=100), '_delete_': True}  # Of 5 queries.
    config.write_text(f'_base_ = {str(squares / "plain.py")!r}\nmodel = {model!r}\n')
    weights = write_checkpoint(config, tmp_path / 'weights.pth')
    line = only_error(tool(TOOL, config, weights, '--out', tmp_path / 'out'))
    assert line.startswith('error: DETRHead failed: RuntimeError: selected index k out of range')
    assert not (tmp_path / 'out').exists()


def test_a_detector_without_boxes_has_no_picture():
    with pytest.raises(InputError, match='predicts no boxes to draw'):
        predictions(DetDataSample(), 0.5)
