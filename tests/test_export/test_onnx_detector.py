"""Detectors as ONNX: the head's boxes, and after suppression those of mmdet."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torchvision.ops import box_iou, nms

from mmmuse.errors import InputError
from mmmuse.export.detector_target import count_other_boxes, network_predictions, onnx_predictions
from mmmuse.export.formats import Program, save_onnx
from mmmuse.export.onnx_modules import DecodedBoxes
from mmmuse.registry import MODELS

from ..test_detection.test_detection_exit import config_of
from ..test_detection.test_detectors import detector as small_detector

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')

SHAPE = (3, 64, 96)
ANCHORS = 3 * (8 * 12 + 4 * 6 + 2 * 3)  # Of the levels of stride 8, 16 and 32.
SCORE_THR, IOU_THR, MOST = 0.3, 0.5, 20
METADATA = {'mean': '[0.0, 1.5]', 'classes': '["cat", "dög"]'}


@pytest.fixture(autouse=True, scope='module')
def _scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture
def instead_of_exporting(monkeypatch) -> Callable[[object], None]:
    """A function that sets the model of ONNX that torch's slow export is to give."""

    def give(model: object) -> None:
        monkeypatch.setattr('mmmuse.export.formats.to_onnx', lambda *args: model)

    return give


class Exported(NamedTuple):
    path: Path
    run: object


@pytest.fixture(scope='module')
def detector() -> BaseModel:
    """A small YOLOv5 of two classes, with scores spread between 0 and 1."""
    torch.manual_seed(0)
    config = config_of('yolov5_s')['student']
    config.backbone.deepen_factor = 0.1  # One block in each stage: a shorter graph to export.
    config.bbox_head.num_classes = 2
    config.test_cfg.update(
        score_thr=SCORE_THR, nms=dict(type='nms', iou_threshold=IOU_THR), max_per_img=MOST
    )
    model = MODELS.build(config).train()
    with torch.no_grad():
        for _ in range(4):
            model(torch.rand(4, *SHAPE), mode='tensor')
        for conv in model.bbox_head.convs:
            nn.init.normal_(conv.weight, std=8 / conv.in_channels**0.5)
    return model.eval()


def export(detector: BaseModel, path: Path, with_nms: bool) -> Exported:
    module = DecodedBoxes(detector, with_nms)
    program = Program(module, torch.zeros(1, *SHAPE))
    return Exported(path, save_onnx(program, path, METADATA, module.outputs, module.nms))


@pytest.fixture(scope='module')
def decoded(detector, tmp_path_factory) -> Exported:
    return export(detector, tmp_path_factory.mktemp('onnx') / 'decoded.onnx', False)


@pytest.fixture
def suppressed(detector, decoded, instead_of_exporting, tmp_path) -> Exported:
    instead_of_exporting(onnx.load(decoded.path))
    return export(detector, tmp_path / 'suppressed.onnx', True)


@torch.no_grad()
def decode(detector: BaseModel, images: Tensor) -> tuple[Tensor, Tensor]:
    return detector.bbox_head.decode(*detector(images, mode='tensor'))


@pytest.mark.parametrize('batch_size', [1, 5])
def test_a_file_decodes_a_batch_of_any_size_as_the_head_does(detector, decoded, batch_size):
    images = torch.rand(batch_size, *SHAPE)
    boxes, scores = decoded.run(images)
    assert boxes.shape == (batch_size, ANCHORS, 4)
    assert scores.shape == (batch_size, ANCHORS, 2)
    expected_boxes, expected_scores = decode(detector, images)
    torch.testing.assert_close(boxes, expected_boxes, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(scores, expected_scores, rtol=1e-4, atol=1e-5)


def test_the_export_leaves_the_network_in_eval_mode(detector, decoded):
    assert not any(module.training for module in detector.modules())


def batches_of_ten() -> list[dict]:
    """Ten images in two batches, each of an own size and scale within what they are padded to."""
    batches = []
    for first in (0, 5):
        samples = [
            DetDataSample(
                metainfo=dict(
                    img_shape=(64 - 2 * i, 96 - 3 * i),
                    ori_shape=(32 - i, 192 - 6 * i),
                    scale_factor=(0.5, 2.0),
                )
            )
            for i in range(first, first + 5)
        ]
        batches.append(dict(inputs=torch.rand(5, *SHAPE), data_samples=samples))
    return batches


@pytest.mark.parametrize('form', ['decoded', 'suppressed'])
def test_boxes_are_those_that_mmdet_predicts(detector, form, request):
    run = request.getfixturevalue(form).run
    predict = onnx_predictions(run, detector.bbox_head, form == 'suppressed')
    expected = network_predictions(detector)
    labels = []
    for batch in batches_of_ten():
        for found, wanted in zip(predict(batch), expected(batch), strict=True):
            lowest = wanted.scores.min().item()  # As many as are kept at most.
            assert count_other_boxes(found, wanted, lowest) == 0
            assert count_other_boxes(wanted, found, lowest) == 0
            torch.testing.assert_close(found.scores, wanted.scores, rtol=0, atol=1e-4)
            labels.append(found.labels)
    assert [len(of_image) for of_image in labels] == [MOST] * 10
    assert torch.cat(labels).unique().tolist() == [0, 1]


def test_suppression_is_within_a_class_and_keeps_the_likeliest(detector, suppressed):
    images = torch.rand(3, *SHAPE)
    boxes, scores, labels, of_image = suppressed.run(images)
    all_boxes, all_scores = decode(detector, images)
    assert all_scores.min() < SCORE_THR < scores.min()
    for image in range(3):
        for label in range(2):
            here = (of_image == image) & (labels == label)
            of_class = all_scores[image, :, label]
            candidates = of_class > SCORE_THR
            kept = nms(all_boxes[image][candidates], of_class[candidates], IOU_THR)
            assert MOST < len(kept) < candidates.sum()
            order = scores[here].argsort(descending=True)
            expected = all_boxes[image][candidates][kept[:MOST]]
            torch.testing.assert_close(boxes[here][order], expected, rtol=1e-4, atol=1e-3)
        overlap = box_iou(boxes[of_image == image], boxes[of_image == image])
        own = labels[of_image == image]
        assert overlap[own[:, None] != own].max() > 0.99  # One anchor is two things.
    assert len(boxes) == len(scores) == 3 * 2 * MOST


def test_an_image_without_boxes_has_none(detector):
    nothing = (torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long(), torch.zeros(0).long())
    batch = batches_of_ten()[0]
    for found in onnx_predictions(lambda images: nothing, detector.bbox_head, True)(batch):
        assert found.bboxes.shape == (0, 4)
        assert len(found.scores) == len(found.labels) == 0


@pytest.mark.parametrize(
    ('form', 'outputs'),
    [
        ('decoded', ['boxes', 'scores']),
        ('suppressed', ['boxes', 'scores', 'labels', 'images_of_boxes']),
    ],
)
def test_a_file_says_what_it_takes_and_what_it_was_made_from(form, outputs, request):
    session = onnxruntime.InferenceSession(
        request.getfixturevalue(form).path, providers=['CPUExecutionProvider']
    )
    assert session.get_modelmeta().custom_metadata_map == METADATA
    (images,) = session.get_inputs()
    assert images.name == 'images'
    assert images.shape[1:] == list(SHAPE)
    assert isinstance(images.shape[0], str)
    assert [output.name for output in session.get_outputs()] == outputs


@pytest.mark.parametrize(
    ('nms_cfg', 'message'),
    [
        (dict(type='soft_nms', iou_threshold=0.5), 'plain NMS only, not .*soft_nms'),
        (dict(iou_threshold=0.5, split_thr=10), 'plain NMS only, not .*split_thr'),
        (
            dict(type='nms', iou_threshold=0.5, class_agnostic=True),
            'class_agnostic is not supported',
        ),
    ],
)
def test_another_suppression_than_onnxs_is_refused_before_the_export(
    detector, nms_cfg, message, monkeypatch
):
    monkeypatch.setitem(detector.bbox_head.test_cfg, 'nms', nms_cfg)
    with pytest.raises(InputError, match=message):
        DecodedBoxes(detector, with_nms=True)
    DecodedBoxes(detector)


def test_a_head_that_does_not_decode_in_one_piece_is_refused(tmp_path):
    with pytest.raises(InputError, match='RetinaHead has none: omit --onnx'):
        export(small_detector('retinanet_r50').eval(), tmp_path / 'a.onnx', False)
    assert not list(tmp_path.iterdir())
