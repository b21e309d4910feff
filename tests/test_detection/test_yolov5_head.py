"""The head's losses against plain loops in float64, and boxes of logits made by hand."""

import math
from pathlib import Path

import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmmuse.detection import YOLOv5Head, yolov5_head
from mmmuse.errors import InputError
from mmmuse.registry import MODELS

from ..test_functional.test_anchor_matching import slow_matches

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'detection'
STRIDES, CLASSES = (8, 16), 3
ANCHORS = (((10, 13), (16, 30)), ((30, 20), (14, 40)))
GRIDS = ((8, 6), (4, 3))  # Of an image 64 high and 48 wide.
OF_COCO = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
FOCAL = dict(type='mmdet.FocalLoss', use_sigmoid=True, gamma=1.5, alpha=0.25)


def priors(base_sizes, strides) -> dict:
    return dict(type='mmdet.YOLOAnchorGenerator', base_sizes=base_sizes, strides=list(strides))


def coco_head(num_classes: int, **options) -> YOLOv5Head:
    """Three levels with the anchors for COCO."""
    return YOLOv5Head(num_classes, [4, 4, 4], priors(OF_COCO, (8, 16, 32)), **options)


def small_head(**options) -> YOLOv5Head:
    """Two levels of two anchors, and three classes."""
    return YOLOv5Head(
        **{
            **dict(
                num_classes=CLASSES,
                in_channels=[4, 6],
                prior_generator=priors(ANCHORS, STRIDES),
                level_weights=(4.0, 0.5),
            ),
            **options,
        }
    )


def some_logits(images: int = 3) -> list[Tensor]:
    return [torch.randn(images, 2, *grid, 5 + CLASSES, requires_grad=True) for grid in GRIDS]


def objects(*boxes: tuple[float, float, float, float, int]) -> InstanceData:
    """Boxes by their corners in pixels, then the class."""
    values = torch.tensor(boxes, dtype=torch.float).reshape(-1, 5)
    return InstanceData(bboxes=values[:, :4], labels=values[:, 4].long())


def no_objects() -> InstanceData:
    return objects()


# The first two boxes of the first image share their centre and anchors; the second is empty.
IMAGES = [
    objects((10, 12, 26, 40, 0), (8, 10, 28, 42, 2), (30, 2, 45.5, 20.25, 1), (9, 8, 31, 25, 1)),
    no_objects(),
    objects((0, 0, 12, 14, 2), (33, 40, 48, 64, 0), (11.5, 30, 40.25, 54.5, 1)),
]


def losses_of(head: YOLOv5Head, logits: list[Tensor], images: list[InstanceData]) -> dict:
    return head.loss_by_feat(logits, images, [{} for _ in images])


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def ciou_parts(box, other) -> tuple[float, float, float]:
    """``(IoU, rho^2 / c^2, v)`` of two boxes ``(centre x, centre y, w, h)``."""
    (x, y, w, h), (x2, y2, w2, h2) = box, other
    left, right = max(x - w / 2, x2 - w2 / 2), min(x + w / 2, x2 + w2 / 2)
    top, bottom = max(y - h / 2, y2 - h2 / 2), min(y + h / 2, y2 + h2 / 2)
    overlap = max(right - left, 0) * max(bottom - top, 0)
    wide = max(x + w / 2, x2 + w2 / 2) - min(x - w / 2, x2 - w2 / 2)
    high = max(y + h / 2, y2 + h2 / 2) - min(y - h / 2, y2 - h2 / 2)
    return (
        overlap / (w * h + w2 * h2 - overlap),
        ((x - x2) ** 2 + (y - y2) ** 2) / (wide**2 + high**2),
        4 / math.pi**2 * (math.atan(w2 / h2) - math.atan(w / h)) ** 2,
    )


def alpha_of(iou: float, v: float) -> float:
    return v / (1 - iou + v) if v else 0.0


def cross_entropy(logit: float, target: float) -> float:
    return max(logit, 0) - logit * target + math.log1p(math.exp(-abs(logit)))


def focal(logit: float, target: float) -> float:
    true = target * sigmoid(logit) + (1 - target) * (1 - sigmoid(logit))
    alpha = 0.25 * target + 0.75 * (1 - target)
    return alpha * (1 - true) ** 1.5 * cross_entropy(logit, target)


class SlowLevel:
    """The three losses of one level in float64, a loop over matches and one over all anchors."""

    def __init__(self, level: int, logits: Tensor, images: list[InstanceData]) -> None:
        self.logits, self.stride, self.anchors = logits.tolist(), STRIDES[level], ANCHORS[level]
        self.shape = logits.shape
        self.matched = []
        for image, instances in enumerate(images):
            for box, label in zip(instances.bboxes.tolist(), instances.labels.tolist()):
                x, y, w, h = (
                    (box[0] + box[2]) / 2,
                    (box[1] + box[3]) / 2,
                    box[2] - box[0],
                    box[3] - box[1],
                )
                for _, anchor, row, column in slow_matches(
                    torch.tensor([[x / self.stride, y / self.stride]]),
                    torch.tensor([[w, h]]),
                    torch.tensor(self.anchors).float(),
                    logits.shape[2:4],
                ):
                    self.matched.append(((image, anchor, row, column), (x, y, w, h), label))

    def logit(self, place) -> list[float]:
        image, anchor, row, column = place
        return self.logits[image][anchor][row][column]

    def parts(self, place, box) -> tuple[float, float, float]:
        _, anchor, row, column = place
        x, y, w, h = (2 * sigmoid(logit) for logit in self.logit(place)[:4])
        predicted = (
            (x - 0.5 + column) * self.stride,
            (y - 0.5 + row) * self.stride,
            w**2 * self.anchors[anchor][0],
            h**2 * self.anchors[anchor][1],
        )
        return ciou_parts(predicted, box)

    def alphas(self) -> list[float]:
        parts = [self.parts(place, box) for place, box, _ in self.matched]
        return [alpha_of(iou, v) for iou, _, v in parts]

    def distances(self, alphas: list[float] | None = None) -> list[float]:
        """1 - CIoU of each match, with the present alphas or with given ones."""
        parts = [self.parts(place, box) for place, box, _ in self.matched]
        alphas = self.alphas() if alphas is None else alphas
        return [1 - iou + far + alpha * v for (iou, far, v), alpha in zip(parts, alphas)]

    def objectness(self) -> dict:
        targets: dict = {}
        for (place, _, _), distance in zip(self.matched, self.distances()):
            targets[place] = max(targets.get(place, 0.0), 1 - distance, 0.0)
        return targets

    def losses(self, loss) -> tuple[float, float, float]:
        distances, targets = self.distances(), self.objectness()
        of_class = [
            loss(logit, float(label == number))
            for place, _, label in self.matched
            for number, logit in enumerate(self.logit(place)[5:])
        ]
        of_anchor = [
            loss(self.logit(place)[4], targets.get(place, 0.0))
            for place in torch.cartesian_prod(*(torch.arange(n) for n in self.shape[:4])).tolist()
            for place in [tuple(place)]
        ]
        return mean(distances), mean(of_anchor), mean(of_class)


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def slow_losses(logits, images, loss, level_weights=(4.0, 0.5)) -> dict[str, float]:
    """Of an image: without the factor of the batch."""
    total = dict(loss_bbox=0.0, loss_obj=0.0, loss_cls=0.0)
    for level, of_level in enumerate(logits):
        box, objectness, classes = SlowLevel(level, of_level, images).losses(loss)
        total['loss_bbox'] += 0.05 * box
        total['loss_obj'] += level_weights[level] * (64 * 48 / 640**2) * objectness
        total['loss_cls'] += 0.5 * CLASSES / 80 * classes
    return total


@pytest.mark.parametrize('seed', [0, 1])
@pytest.mark.parametrize('scale_by_batch', [True, False])
@pytest.mark.parametrize('loss', [cross_entropy, focal])
def test_the_losses_are_those_of_loops_in_float64(loss, scale_by_batch, seed):
    torch.manual_seed(seed)
    options = {}
    if loss is focal:
        options = dict(loss_cls={**FOCAL, 'loss_weight': 0.5}, loss_obj=FOCAL)
    head, logits = small_head(scale_by_batch=scale_by_batch, **options), some_logits()
    found = losses_of(head, logits, IMAGES)
    expected = slow_losses(logits, IMAGES, loss)
    assert set(found) == set(expected)
    for name, value in expected.items():
        factor = 3 if scale_by_batch else 1
        assert found[name].item() == pytest.approx(value * factor, rel=1e-4), name


def test_the_case_has_shared_anchors_boxes_far_away_and_matches_on_both_levels():
    """Or the loops would not tell the highest from the last, nor a clamp from none."""
    levels = [SlowLevel(level, logits, IMAGES) for level, logits in enumerate(some_logits())]
    assert all(level.matched for level in levels)
    assert any(len({m[0] for m in level.matched}) < len(level.matched) for level in levels)
    assert any(distance > 1 for level in levels for distance in level.distances())


def test_every_process_counts_in_the_batch(monkeypatch):
    logits = some_logits()
    one_process = losses_of(small_head(), logits, IMAGES)
    monkeypatch.setattr(yolov5_head, 'get_world_size', lambda: 4)
    for name, value in losses_of(small_head(), logits, IMAGES).items():
        torch.testing.assert_close(value, 4 * one_process[name])
    image = losses_of(small_head(scale_by_batch=False), logits, IMAGES)
    torch.testing.assert_close(image['loss_obj'], one_process['loss_obj'] / 3)


def test_the_boxes_gradient_is_that_of_ciou_with_alpha_held_fixed():
    torch.manual_seed(3)
    # Of another shape than the anchors, and near enough that alpha and v count.
    images = [objects((14, 10, 37, 24, 0), (5, 20, 19, 60, 1))]
    logits = [(0.5 * torch.randn(1, 2, *grid, 5 + CLASSES)).requires_grad_() for grid in GRIDS]
    losses_of(small_head(scale_by_batch=False), logits, images)['loss_bbox'].backward()
    step, tried = 1e-4, 0
    for level, of_level in enumerate(logits):
        slow = SlowLevel(level, of_level.detach().double(), images)
        alphas = slow.alphas()
        assert max(alphas) > 0.05
        for place in {place for place, _, _ in slow.matched}:
            for number in range(4):
                values = []
                for sign in (1, -1):
                    slow.logit(place)[number] += sign * step
                    values.append(0.05 * mean(slow.distances(alphas)))
                    slow.logit(place)[number] -= sign * step
                numeric = (values[0] - values[1]) / (2 * step)
                assert of_level.grad[place][number].item() == pytest.approx(
                    numeric, rel=2e-3, abs=1e-6
                )
                tried += 1
        untouched = torch.ones(of_level.shape[:4], dtype=torch.bool)
        for place, _, _ in slow.matched:
            untouched[place] = False
        assert not of_level.grad[untouched].any()
    assert tried >= 4 * 6


def test_objectness_does_not_move_the_boxes():
    logits = some_logits()
    losses_of(small_head(), logits, IMAGES)['loss_obj'].backward()
    for of_level in logits:
        assert of_level.grad[..., 4].all()
        assert not of_level.grad[..., :4].any()
        assert not of_level.grad[..., 5:].any()


@pytest.mark.parametrize('order', [(0, 1), (1, 0)])
def test_of_two_boxes_at_one_anchor_objectness_is_the_higher_iou(order):
    """Logits of 0 encode the anchor (10, 13): one box equals it, the other is twice as wide."""
    boxes = [(23.0, 13.5, 33.0, 26.5, 0), (18.0, 13.5, 38.0, 26.5, 1)]
    logits = [torch.zeros(1, 2, *grid, 5 + CLASSES, requires_grad=True) for grid in GRIDS]
    head = small_head(level_weights=(1.0, 0.0), scale_by_batch=False)
    losses_of(head, logits, [objects(*(boxes[i] for i in order))])['loss_obj'].backward()
    # The gradient of cross-entropy is (1/2 - target) / anchors, times the image's area.
    share = 64 * 48 / 640**2 / (2 * 8 * 6)
    targets = 0.5 - logits[0].grad[0, :, :, :, 4] / share
    assert targets[0, 2, 3].item() == pytest.approx(1.0, abs=1e-4)
    assert targets[0, 5, 3].item() == pytest.approx(0.0, abs=1e-4)


def uniform_objectness(size: int, levels: tuple[float, ...] = (4.0, 1.0, 0.4)) -> float:
    head = coco_head(1, level_weights=levels, scale_by_batch=False)
    logits = [torch.zeros(1, 3, size // stride, size // stride, 6) for stride in (8, 16, 32)]
    return losses_of(head, logits, [no_objects()])['loss_obj'].item()


def test_objectness_weighs_with_the_images_area():
    assert uniform_objectness(640) == pytest.approx(5.4 * math.log(2), rel=1e-5)
    assert uniform_objectness(320) == pytest.approx(5.4 / 4 * math.log(2), rel=1e-5)


@pytest.mark.parametrize(
    ('levels', 'total'), [((1.0, 0.0, 0.0), 1.0), ((0.0, 2.0, 0.0), 2.0), ((0.0, 0.0, 7.0), 7.0)]
)
def test_each_level_weighs_with_its_own_factor(levels, total):
    assert uniform_objectness(320, levels) == pytest.approx(total / 4 * math.log(2), rel=1e-5)


@pytest.mark.parametrize('num_classes', [20, 80])
def test_the_class_loss_grows_with_the_number_of_classes(num_classes):
    head = coco_head(num_classes, scale_by_batch=False)
    logits = [torch.zeros(1, 3, s, s, 5 + num_classes) for s in (8, 4, 2)]
    # 6 pixels are a quarter of no anchor but those of the first level.
    loss = losses_of(head, logits, [objects((20, 20, 26, 26, 0))])['loss_cls']
    assert loss.item() == pytest.approx(0.5 * num_classes / 80 * math.log(2), rel=1e-5)


def features() -> list[Tensor]:
    return [torch.randn(2, channels, *grid) for channels, grid in zip((4, 6), GRIDS)]


def samples(images: list[InstanceData], ignored: list[InstanceData] | None = None) -> list:
    ignored = ignored or [no_objects() for _ in images]
    meta = dict(img_shape=(64, 48), ori_shape=(64, 48), scale_factor=(1.0, 1.0))
    return [
        DetDataSample(metainfo=meta, gt_instances=of_image, ignored_instances=crowd)
        for of_image, crowd in zip(images, ignored)
    ]


@pytest.mark.parametrize('options', [{}, dict(loss_cls=FOCAL, loss_obj=FOCAL)])
@pytest.mark.parametrize(
    'images',
    [[no_objects(), no_objects()], [objects((0, 0, 48, 1, 0)), objects((5, 5, 6, 6, 2))]],
    ids=['no box', 'no match'],
)
def test_a_batch_without_a_match_trains_every_parameter(images, options):
    head = small_head(**options)
    losses = head.loss(features(), samples(images))
    assert losses['loss_bbox'] == 0
    assert losses['loss_cls'] == 0
    assert 0 < losses['loss_obj'] < math.inf
    sum(losses.values()).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def same_losses(found: dict, expected: dict) -> bool:
    return all(
        torch.equal(found[name], expected[name]) for name in ('loss_bbox', 'loss_obj', 'loss_cls')
    )


def test_crowds_change_nothing():
    head, maps = small_head(), features()
    images = [IMAGES[0], IMAGES[2]]
    crowds = [objects((10, 12, 26, 40, 0)), objects((0, 0, 40, 40, 1), (2, 2, 14, 15, 0))]
    assert same_losses(head.loss(maps, samples(images, crowds)), head.loss(maps, samples(images)))


@pytest.mark.parametrize(
    'degenerate',
    [
        (20, 20, 20, 33, 1),
        (20, 20, 30, 20, 1),
        (30, 33, 20, 20, 1),
        (math.nan, 20, 30, 33, 1),
        (200, 200, 210, 213, 1),
        (-30, 20, -20, 33, 1),
    ],
    ids=['no width', 'no height', 'corners swapped', 'no number', 'beyond', 'before'],
)
def test_degenerate_boxes_and_those_outside_change_nothing(degenerate):
    head, logits = small_head(), some_logits(2)
    kept = [(10, 12, 26, 40, 0), (30, 2, 45.5, 20.25, 1)]
    plain = losses_of(head, logits, [objects(*kept), no_objects()])
    assert same_losses(
        losses_of(head, logits, [objects(kept[0], degenerate, kept[1]), objects(degenerate)]), plain
    )


def test_mmdets_box_type_is_read_as_its_tensor():
    head, logits = small_head(), some_logits()
    typed = [
        InstanceData(bboxes=HorizontalBoxes(of_image.bboxes), labels=of_image.labels)
        for of_image in IMAGES
    ]
    assert same_losses(losses_of(head, logits, typed), losses_of(head, logits, IMAGES))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_logits_give_float32_losses(dtype):
    head, logits = small_head(), [of_level.detach().to(dtype) for of_level in some_logits()]
    losses = losses_of(head, logits, IMAGES)
    assert same_losses(losses, losses_of(head, [of_level.float() for of_level in logits], IMAGES))
    assert {value.dtype for value in losses.values()} == {torch.float32}


@pytest.mark.parametrize(
    'collapsed',
    [
        pytest.param((2,), id='width'),
        pytest.param((3,), id='height'),
        pytest.param((2, 3), id='both'),
    ],
)
def test_a_predicted_box_without_a_side_has_finite_losses_and_gradients(collapsed):
    logits = [torch.zeros(1, 2, *grid, 5 + CLASSES) for grid in GRIDS]
    for of_level in logits:
        of_level[..., list(collapsed)] = -12.0
        of_level.requires_grad_()
    losses = losses_of(small_head(), logits, [objects((20, 20, 36, 40, 1))])
    assert all(value.isfinite() for value in losses.values())
    sum(losses.values()).backward()
    assert all(of_level.grad.isfinite().all() for of_level in logits)


def test_channels_are_the_anchors_with_box_objectness_and_classes_each():
    head = small_head()
    for conv in head.convs:
        nn.init.zeros_(conv.weight)
        conv.bias.data = torch.arange(16.0)
    (logits,) = head(features())
    assert [of_level.shape for of_level in logits] == [(2, 2, 8, 6, 8), (2, 2, 4, 3, 8)]
    for of_level in logits:
        assert of_level[1, :, 2, 1].tolist() == [[*range(8)], [*range(8, 16)]]


def test_rows_and_columns_of_the_map_stay_rows_and_columns():
    head, maps = small_head(), features()
    (logits,) = head(maps)
    weight, bias = head.convs[0].weight[9, :, 0, 0], head.convs[0].bias[9]
    torch.testing.assert_close(logits[0][1, 1, 6, 2, 1], weight @ maps[0][1, :, 6, 2] + bias)


def test_objectness_and_classes_begin_as_rare_as_they_are():
    head = coco_head(80)
    head.init_weights()
    objectness = (-6.684612, -5.298317, -3.912023)  # log(8 / 6400), log(8 / 1600), log(8 / 400)
    for conv, prior in zip(head.convs, objectness):
        bias = conv.bias.detach().view(3, 85)
        torch.testing.assert_close(bias[:, 4], torch.full((3,), prior))
        torch.testing.assert_close(bias[:, 5:], torch.full((3, 80), -4.880400), rtol=1e-5, atol=0)
        assert bias[:, :4].abs().max() <= 0.5


# Prediction ---------------------------------------------------------------------------------


CONFIG = ConfigDict(
    score_thr=0.1, nms_pre=1000, nms=dict(type='nms', iou_threshold=0.65), max_per_img=300
)


def blank_logits(images: int = 1) -> list[Tensor]:
    """Nothing anywhere, and boxes that are their anchors in the middle of their cells."""
    logits = [torch.zeros(images, 2, *grid, 5 + CLASSES) for grid in GRIDS]
    for of_level in logits:
        of_level[..., 4:] = -20
    return logits


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def say(logits, place, objectness: float, *classes: float) -> Tensor:
    """Let an anchor, ``(level, image, anchor, row, column)``, predict; return its logits."""
    level, *rest = place
    of_anchor = logits[level][tuple(rest)]
    of_anchor[4:] = torch.tensor([logit(value) for value in (objectness, *classes)])
    return of_anchor


def predictions(logits, head=None, **options) -> list[InstanceData]:
    meta = {
        **dict(img_shape=(64, 48), ori_shape=(64, 48), scale_factor=(1.0, 1.0)),
        **options.pop('meta', {}),
    }
    head = head or small_head(test_cfg=CONFIG)
    return head.predict_by_feat(logits, [meta] * len(logits[0]), **options)


def close(found: Tensor, expected: list) -> None:
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-4, atol=1e-4)


def test_boxes_come_out_in_their_image_at_their_place_the_likeliest_first():
    logits = blank_logits(2)
    say(logits, (0, 1, 0, 2, 3), 0.5, 0.1, 0.8, 0.1)  # (10, 13) about (28, 20)
    say(logits, (1, 1, 1, 1, 1), 0.9, 0.01, 0.01, 0.9)  # (14, 40) about (24, 24)
    empty, full = predictions(logits)
    close(full.bboxes, [[17.0, 4.0, 31.0, 44.0], [23.0, 13.5, 33.0, 26.5]])
    close(full.scores, [0.81, 0.4])
    assert full.labels.tolist() == [2, 1]
    assert empty.bboxes.shape == (0, 4)
    assert empty.scores.shape == empty.labels.shape == (0,)


def test_the_logits_move_and_stretch_the_box():
    logits = blank_logits()
    box = say(logits, (0, 0, 1, 4, 2), 0.9, 0.9, 0.1, 0.1)
    box[:4] = torch.tensor([logit(0.25), logit(0.75), logit(0.25), logit(0.75)])
    # Centre (2 + 0, 4 + 1) cells; a quarter of the width 16, 9 quarters of the height 30.
    (found,) = predictions(logits)
    close(found.bboxes, [[14.0, 6.25, 18.0, 64.0]])


def test_boxes_are_cut_to_the_image_without_its_padding():
    logits = blank_logits()
    say(logits, (1, 0, 0, 0, 0), 0.9, 0.9, 0.1, 0.1)  # (30, 20) about (8, 8)
    say(logits, (0, 0, 1, 6, 5), 0.5, 0.9, 0.1, 0.1)  # (16, 30) about (44, 52)
    shape = dict(img_shape=(60, 45), ori_shape=(60, 45))
    (found,) = predictions(logits, meta=shape)
    close(found.bboxes, [[0.0, 0.0, 23.0, 18.0], [36.0, 37.0, 45.0, 60.0]])


def test_boxes_go_back_to_the_size_the_image_had():
    logits = blank_logits()
    say(logits, (0, 0, 0, 2, 3), 0.5, 0.1, 0.8, 0.1)
    say(logits, (0, 0, 1, 6, 5), 0.4, 0.9, 0.1, 0.1)
    meta = dict(scale_factor=(0.5, 0.25), ori_shape=(256, 96))
    (found,) = predictions(logits, rescale=True, meta=meta)
    close(found.bboxes, [[46.0, 54.0, 66.0, 106.0], [72.0, 148.0, 96.0, 256.0]])
    (kept,) = predictions(logits, meta=meta)
    close(kept.bboxes, [[23.0, 13.5, 33.0, 26.5], [36.0, 37.0, 48.0, 64.0]])


def overlapping(first_class: int, second_class: int) -> list[Tensor]:
    """Two boxes of (10, 13), 1.6 pixels apart: an IoU of 0.72."""
    logits = blank_logits()
    for column, at, label, objectness in ((3, 0.5, first_class, 0.9), (4, 0.1, second_class, 0.8)):
        classes = [0.9 if number == label else 0.01 for number in range(CLASSES)]
        say(logits, (0, 0, 0, 2, column), objectness, *classes)[0] = logit(at)
    return logits


def test_of_two_overlapping_boxes_of_one_class_the_likelier_stays():
    (found,) = predictions(overlapping(1, 1))
    close(found.bboxes, [[23.0, 13.5, 33.0, 26.5]])
    close(found.scores, [0.81])


def test_overlapping_boxes_of_two_classes_both_stay():
    (found,) = predictions(overlapping(0, 1))
    close(found.bboxes, [[23.0, 13.5, 33.0, 26.5], [24.6, 13.5, 34.6, 26.5]])
    assert found.labels.tolist() == [0, 1]


def test_overlap_below_the_threshold_stays_and_without_suppression_all_of_it():
    config = ConfigDict({**CONFIG, 'nms': dict(type='nms', iou_threshold=0.75)})
    assert len(predictions(overlapping(1, 1), cfg=config)[0]) == 2
    assert len(predictions(overlapping(1, 1), with_nms=False)[0]) == 2


def test_an_anchor_may_predict_several_classes():
    logits = blank_logits()
    say(logits, (0, 0, 0, 2, 3), 0.9, 0.8, 0.01, 0.7)
    (found,) = predictions(logits)
    assert found.labels.tolist() == [0, 2]
    close(found.scores, [0.72, 0.63])


def test_a_score_has_to_be_above_the_threshold():
    logits = blank_logits()
    say(logits, (0, 0, 0, 2, 3), 0.3, 0.3, 0.4, 0.01)
    (found,) = predictions(logits)  # 0.09, 0.12 and 0.003, where the threshold is 0.1.
    assert found.labels.tolist() == [1]


@pytest.mark.parametrize('limit', [dict(nms_pre=2), dict(max_per_img=2)])
def test_only_the_likeliest_of_many_are_kept(limit):
    logits = blank_logits()
    for column, objectness in enumerate((0.5, 0.9, 0.6, 0.8)):
        say(logits, (0, 0, 0, 2, column), objectness, 0.9, 0.01, 0.01)
    (found,) = predictions(logits, cfg=ConfigDict({**CONFIG, **limit}))
    close(found.scores, [0.81, 0.72])


@pytest.mark.parametrize('key', ['nms_pre', 'max_per_img'])
def test_all_boxes_are_a_large_number_and_not_minus_one(key):
    with pytest.raises(
        InputError, match=f'test_cfg: {key} is .* -1, .* set 10000000 to keep all boxes'
    ):
        small_head(test_cfg=ConfigDict({**CONFIG, key: -1}))
    logits = blank_logits()
    for column in range(4):
        say(logits, (0, 0, 0, 2, column), 0.9, 0.9, 0.01, 0.01)
    head = small_head(test_cfg=ConfigDict({**CONFIG, key: 10000000}))
    assert len(predictions(logits, head, cfg=head.test_cfg)[0]) == 4


def test_the_head_predicts_from_features_as_detectors_ask_it_to():
    head = small_head(test_cfg=CONFIG)
    for conv in head.convs:
        nn.init.zeros_(conv.weight)
        nn.init.constant_(conv.bias, -20)
    head.convs[1].bias.data[:8] = torch.tensor([0, 0, 0, 0, 20, -20, 20, -20.0])
    head.convs[1].weight.data[4, 0] = -40  # Objects where the first channel is 0.
    maps = [torch.zeros(1, 4, 8, 6), torch.ones(1, 6, 4, 3)]
    maps[1][0, 0, 2, 1] = 0
    (found,) = head.predict(maps, samples([no_objects()]), rescale=True)
    close(found.bboxes, [[9.0, 30.0, 39.0, 50.0]])
    assert found.labels.tolist() == [1]


# Detectors ----------------------------------------------------------------------------------


def detector(name: str) -> nn.Module:
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(Config.fromfile(CONFIGS / f'{name}.py').model)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ('size', 'parameters'),
    [('s', 7_276_605), ('m', 21_375_645), ('l', 47_056_765), ('x', 87_775_965)],
)
def test_each_size_has_the_parameters_of_yolov5(size, parameters):
    with torch.device('meta'):
        model = detector(f'yolov5_{size}_coco')
    assert count(model) == parameters
    if size == 's':
        backbone = model.backbone
        module_1 = [backbone.stem, backbone.stage1, backbone.stage2, backbone.stage3]
        assert sum(map(count, module_1)) == 1_192_384


@pytest.mark.parametrize('size', 'smlx')
def test_each_size_has_the_anchors_of_yolov5(size):
    config = Config.fromfile(CONFIGS / f'yolov5_{size}_coco.py').model.bbox_head.prior_generator
    assert tuple(tuple(map(tuple, level)) for level in config.base_sizes) == OF_COCO
    assert config.strides == [8, 16, 32]


def test_a_detector_learns_and_keeps_the_priors_of_its_head():
    model = detector('yolov5_n_bccd')
    model.init_weights()
    bias = model.bbox_head.convs[0].bias.detach().view(3, 8)
    assert bias[:, 4].tolist() == pytest.approx([-6.684612] * 3)
    assert bias[:, 5:].flatten().tolist() == pytest.approx([-1.208960] * 9, rel=1e-5)
    model.train()
    images = [objects((10, 12, 26, 40, 0)), objects((0, 0, 60, 60, 2))]
    losses = model.loss(torch.rand(2, 3, 64, 64), samples(images))
    total, _ = model.parse_losses(losses)
    total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name


# Errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('options', 'levels'),
    [
        (dict(in_channels=[4]), '1 in_channels, 2 base_sizes, 2 strides, 2 level_weights'),
        (
            dict(level_weights=(4.0, 1.0, 0.4)),
            '2 in_channels, 2 base_sizes, 2 strides, 3 level_weights',
        ),
        (
            dict(prior_generator=priors(ANCHORS, (8, 16, 32))),
            '2 in_channels, 2 base_sizes, 3 strides, 2 level_weights',
        ),
        (
            dict(prior_generator=priors(ANCHORS[:1], (8, 16))),
            '2 in_channels, 1 base_sizes, 2 strides, 2 level_weights',
        ),
    ],
)
def test_levels_that_differ_in_number_are_refused_with_what_they_are(options, levels):
    with pytest.raises(InputError) as error:
        small_head(**options)
    assert levels in str(error.value)


@pytest.mark.parametrize(
    'unequal',
    [priors(ANCHORS, (8,)), priors((ANCHORS[0], ANCHORS[1][:1]), (8, 16))],
    ids=['a stride too few', 'an anchor too few'],
)
def test_anchors_that_are_not_as_many_as_strides_or_as_each_other_are_refused(unequal):
    with pytest.raises(InputError, match='needs one of each of these per level'):
        small_head(prior_generator=unequal)


def test_a_map_too_many_or_too_few_is_refused():
    head = small_head()
    maps = [torch.zeros(1, 4, 4, 4), torch.zeros(1, 6, 2, 2)]
    for given in (maps[:1], [*maps, maps[1]]):
        with pytest.raises(InputError, match=rf'has 2 levels and got {len(given)} maps'):
            head(given)


def test_in_a_model_of_bfloat16_the_anchors_are_exact():
    head = YOLOv5Head(CLASSES, [4, 4, 4], priors(OF_COCO, (8, 16, 32))).bfloat16()
    assert head.anchors.tolist() == [[list(size) for size in level] for level in OF_COCO]
    assert head.convs[0].weight.dtype == torch.bfloat16
