from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from mmengine.config import Config
from mmpretrain import get_model
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmmuse.distillers import EarlyExitClassifier, SelfDistiller
from mmmuse.errors import InputError
from mmmuse.export.exit_network import exit_logits
from mmmuse.heads.variants import variant_head

from ..conftest import TAPS, as_trained, labelled, small_classifier_config

NEVER = 1.0
ALWAYS = 0.0


def classifier(thresholds, taps=TAPS, student=None) -> EarlyExitClassifier:
    """The small classifier; its norms have seen a few images. In eval mode."""
    model = EarlyExitClassifier(
        student=student or small_classifier_config(),
        taps=taps,
        head=variant_head('ce_kd'),
        neck=dict(type='mmmuse.SelfDistillNeck'),
        thresholds=thresholds,
    )
    model.train()
    for _ in range(4):
        exit_logits(model, torch.randn(8, 3, 32, 32))
    return as_trained(model).eval()


class Calls:
    """Batch sizes with which a module is called."""

    def __init__(self, module: nn.Module) -> None:
        self.sizes: list[int] = []
        module.register_forward_pre_hook(lambda module, args: self.sizes.append(len(args[0])))


def expected(model: EarlyExitClassifier, images: Tensor) -> tuple[Tensor, list[int]]:
    """An independent implementation: one image at a time, from the logits of every exit."""
    chosen, exits = [], []
    for image_logits in zip(*exit_logits(model, images)):
        for i, logits in enumerate(image_logits):
            last = i == len(image_logits) - 1
            threshold = None if last else model.thresholds[i]
            if last or (threshold is not None and logits.softmax(0).max() >= threshold):
                chosen.append(logits)
                exits.append(i + 1)
                break
    return torch.stack(chosen), exits


def middle_thresholds(model: EarlyExitClassifier, images: Tensor) -> list[float]:
    """Thresholds at which about half of the images take each exit."""
    logits = exit_logits(model, images)[:-1]
    return [of_exit.softmax(-1).amax(-1).median().item() for of_exit in logits]


@pytest.mark.parametrize('skipped', [(), (0,), (1, 2), (0, 1, 2)])
@torch.no_grad()
def test_every_image_gets_the_logits_of_the_first_confident_exit(skipped):
    model = classifier([NEVER] * 3)
    images = torch.randn(48, 3, 32, 32)
    thresholds = middle_thresholds(model, images)
    model.set_thresholds([None if i in skipped else value for i, value in enumerate(thresholds)])
    logits, exits = model.classify(images)
    expected_logits, expected_exits = expected(model, images)
    assert exits.tolist() == expected_exits
    assert len(set(expected_exits)) == 4 - len(skipped)
    torch.testing.assert_close(logits, expected_logits, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_one_image_gets_what_it_gets_in_a_batch():
    model = classifier([NEVER] * 3)
    images = torch.randn(12, 3, 32, 32)
    model.set_thresholds(middle_thresholds(model, images))
    one_by_one = torch.cat([model(image) for image in images.split(1)])
    torch.testing.assert_close(model(images), one_by_one, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_later_layers_run_on_the_remaining_images_only():
    model = classifier([NEVER] * 3)
    images = torch.randn(48, 3, 32, 32)
    model.set_thresholds(middle_thresholds(model, images))
    calls = [Calls(getattr(model.student.backbone, f'layer{i}')) for i in (1, 2, 3, 4)]
    _, exits = model.classify(images)
    remaining = [(exits >= i).sum().item() for i in (1, 2, 3, 4)]
    assert [call.sizes for call in calls] == [[count] for count in remaining]
    assert remaining[0] == 48 > remaining[1] > remaining[2] > remaining[3] > 0


@pytest.mark.parametrize('num_images', [1, 5])
@torch.no_grad()
def test_no_layer_runs_after_the_last_image_is_done(num_images):
    model = classifier([NEVER, ALWAYS, NEVER])
    calls = [Calls(getattr(model.student.backbone, f'layer{i}')) for i in (2, 3, 4)]
    logits, exits = model.classify(torch.randn(num_images, 3, 32, 32))
    assert exits.tolist() == [2] * num_images
    assert logits.shape == (num_images, 5)
    assert [call.sizes for call in calls] == [[num_images], [], []]


@torch.no_grad()
def test_a_disabled_exit_is_not_computed():
    model = classifier([None, ALWAYS, None])
    calls = [Calls(bottleneck) for bottleneck in model.adapters.branches]
    model(torch.randn(2, 3, 32, 32))
    assert [call.sizes for call in calls] == [[], [2], []]


@torch.no_grad()
def test_predictions_say_the_exit_and_keep_the_labels():
    model = classifier([NEVER, ALWAYS, NEVER])
    samples = model(torch.randn(3, 3, 32, 32), labelled([4, 0, 2]), mode='predict')
    assert [sample.exit for sample in samples] == [2, 2, 2]
    assert [sample.gt_label.item() for sample in samples] == [4, 0, 2]
    for sample in samples:
        assert sample.pred_score.sum().item() == pytest.approx(1, abs=1e-5)
        assert sample.pred_label.item() == sample.pred_score.argmax().item()
    assert isinstance(model(torch.randn(1, 3, 32, 32), mode='predict')[0], DataSample)


def test_it_trains_as_the_distiller_does():
    early = classifier([0.5] * 3)
    plain = SelfDistiller(
        student=small_classifier_config(),
        taps=TAPS,
        head=variant_head('ce_kd'),
        neck=dict(type='mmmuse.SelfDistillNeck'),
    )
    plain.load_state_dict(early.state_dict())
    images = torch.randn(4, 3, 32, 32)
    losses = [model.eval()(images, labelled([0, 1, 2, 3]), mode='loss') for model in (early, plain)]
    assert losses[0].keys() == losses[1].keys()
    for name, value in losses[0].items():
        torch.testing.assert_close(value, losses[1][name])


def test_building_changes_no_buffer():
    model = EarlyExitClassifier(
        student=small_classifier_config(),
        taps=TAPS,
        head=variant_head('ce_kd'),
        neck=dict(type='mmmuse.SelfDistillNeck'),
        thresholds=[0.5] * 3,
    )
    assert model.training
    assert all(
        module.num_batches_tracked == 0
        for module in model.modules()
        if isinstance(module, nn.BatchNorm2d)
    )


@pytest.mark.parametrize(
    ('thresholds', 'message'),
    [
        ([0.5], 'a threshold for each of its 3 exits, got 1'),
        ([0.5, 1.5, 0.5], 'thresholds is None or a list of None or numbers from 0 to 1'),
        ([0.5, -0.1, None], 'thresholds is None or a list of None or numbers from 0 to 1'),
        (['a', 'b', 'c'], 'thresholds is None or a list of None or numbers from 0 to 1'),
        (0.5, 'thresholds is None or a list of None or numbers from 0 to 1, got 0.5'),
        (None, 'thresholds is a list of None or numbers from 0 to 1, got None'),
    ],
)
def test_wrong_thresholds_are_refused(thresholds, message):
    with pytest.raises(InputError, match=message):
        classifier(thresholds)


@torch.no_grad()
def test_several_threads_share_one_network():
    model = classifier([NEVER] * 3)
    batches = torch.randn(40, 8, 3, 32, 32)
    model.set_thresholds(middle_thresholds(model, batches[0]))
    expected_exits = [model.classify(batch)[1].tolist() for batch in batches]

    def run(batch):
        with torch.no_grad():
            return model.classify(batch)[1].tolist()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, batches)) == expected_exits


def test_an_early_exit_inside_a_residual_block_is_refused():
    taps = dict(TAPS, modules=['backbone.layer1.0.conv1', 'backbone.layer2', 'backbone.layer3'])
    with pytest.raises(InputError, match=r"no early exit at 'backbone.layer1.0.conv1'"):
        classifier([0.5] * 3, taps)


@torch.no_grad()
def test_an_exit_between_cells_that_pass_on_two_maps_drops_rows_of_both():
    student = dict(
        type='mmpretrain.ImageClassifier',
        _scope_='mmpretrain',
        backbone=dict(type='mmmuse.NASNet', num_cells=1, channels=4, stem_channels=4),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=5, in_channels=96),
    )
    taps = dict(
        modules=['backbone.cells.1[0]', 'backbone.cells.2[0]', 'backbone.cells.3[0]'],
        last='backbone.relu',
        logits='head',
    )
    model = classifier([NEVER] * 3, taps, student)
    images = torch.randn(12, 3, 32, 32)
    model.set_thresholds(middle_thresholds(model, images))
    logits, exits = model.classify(images)
    expected_logits, expected_exits = expected(model, images)
    assert exits.tolist() == expected_exits
    torch.testing.assert_close(logits, expected_logits, atol=1e-5, rtol=1e-5)


def test_a_config_makes_it_of_the_distilled_one():
    config = Config.fromfile('configs/demo/resnet18_digits_mi_x_si.py')
    config.merge_from_dict(
        {'model.type': 'mmmuse.EarlyExitClassifier', 'model.thresholds': [0.9, None, 0.8]}
    )
    assert get_model(config).thresholds == (0.9, None, 0.8)
