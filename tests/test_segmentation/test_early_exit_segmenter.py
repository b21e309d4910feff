"""Each image takes the first exit that is confident enough."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch

pytest.importorskip('mmseg')

from mmmuse.errors import InputError
from mmmuse.segmentation import EarlyExitSegmenter
from mmmuse.segmentation.early_exit_segmenter import confidence

from ..conftest import as_trained
from .segmenters import (
    EXITS,
    FCN,
    batch,
    distilled,
    predictions_of,
    segmenter_config,
    taps_of,
)


def early(name: str, distiller, thresholds, **options) -> EarlyExitSegmenter:
    """The early-exit segmenter with the weights of a distiller, in eval mode."""
    arguments = dict(student=segmenter_config(name), taps=taps_of(name), exit=EXITS[name])
    model = as_trained(EarlyExitSegmenter(**{**arguments, **options}, thresholds=thresholds))
    own = model.state_dict()
    weights = distiller.state_dict()
    model.load_state_dict({key: weights[key] for key in own})
    return model.eval()


def confidences(distiller) -> list[list[float]]:
    """Confidence of each exit for each image."""
    found = predictions_of(distiller)
    count = len(distiller.exits)
    return [
        [confidence(each.get(f'exit{i}_logits').data[None]) for i in range(1, count + 1)]
        for each in found
    ]


@pytest.mark.parametrize('name', ['pspnet', 'segformer', 'unet'])
def test_an_exit_that_is_always_confident_gives_its_masks_and_none_gives_the_students(name):
    distiller = distilled(name)
    expected = predictions_of(distiller)
    count = len(distiller.exits)
    for number in (1, count):
        thresholds = [None] * (number - 1) + [0.0] + [None] * (count - number)
        for sample, own in zip(predictions_of(early(name, distiller, thresholds)), expected):
            assert sample.exit == number
            mask = own.get(f'exit{number}_sem_seg').data
            assert torch.equal(sample.pred_sem_seg.data, mask)
    for sample, own in zip(predictions_of(early(name, distiller, [None] * count)), expected):
        assert sample.exit == count + 1
        assert torch.equal(sample.pred_sem_seg.data, own.pred_sem_seg.data)


def test_only_a_confident_image_leaves_and_later_layers_run_for_the_other():
    distiller = distilled('pspnet')
    with torch.no_grad():  # Logits large enough for the two images to differ in confidence.
        for exit in distiller.exits:
            exit.predictor.conv_seg.weight.mul_(100)
    of_first = [each[0] for each in confidences(distiller)]
    assert of_first[0] != of_first[1]
    threshold = sum(of_first) / 2
    model = early('pspnet', distiller, [threshold, None, None])
    runs = []
    model.student.backbone.layer2.register_forward_hook(lambda *args: runs.append(len(args[2])))
    exits = [sample.exit for sample in predictions_of(model)]
    assert exits == [1 if each >= threshold else 4 for each in of_first]
    assert sorted(exits) == [1, 4]
    assert runs == [1]


def test_thresholds_are_one_for_each_exit():
    distiller = distilled('unet', exit=FCN)
    with pytest.raises(InputError, match='a threshold for each of its 3 exits, got 1'):
        early('unet', distiller, [0.5])
    with pytest.raises(InputError, match='thresholds'):
        early('unet', distiller, [0.5, 0.5, 1.5])


def test_exits_without_weights_do_not_answer():
    model = early('unet', distilled('unet'), [0.5] * 3)
    model.added_weights.trained = False
    model.added_weights.forget()
    with pytest.raises(InputError, match='never trained or loaded'):
        model(**batch(model, False), mode='predict')


def test_two_threads_get_the_same_masks_as_one():
    distiller = distilled('pspnet')
    model = early('pspnet', distiller, [None, 0.0, None])
    before = dict(vars(model.student))
    data = batch(model, False)
    images = data['inputs']
    together = Barrier(2, timeout=30)

    def wait(*_: object) -> None:
        together.wait()

    model.student.backbone.layer1.register_forward_hook(wait)

    @torch.no_grad()
    def masks(i: int) -> torch.Tensor:
        sample = data['data_samples'][i].new()
        (found,) = model(images[i : i + 1], [sample], mode='predict')
        return found.pred_sem_seg.data

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(masks, range(2)))
    expected = predictions_of(distiller)
    for mask, own in zip(found, expected):
        assert torch.equal(mask, own.exit2_sem_seg.data)
    assert vars(model.student) == before
