"""The check that heads and data have the same number of classes."""

from types import SimpleNamespace

import pytest
from torch import nn

from mmmuse.distillers import OnlineDistiller
from mmmuse.errors import InputError
from mmmuse.hooks import ClassCountHook

from ..conftest import small_distiller
from ..test_distillers.transfer import TAPS as SMALL_TAPS
from ..test_distillers.transfer import network


class Head(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes


def parts(**modules: nn.Module) -> nn.Module:
    module = nn.Module()
    for name, part in modules.items():
        module.add_module(name, part)
    return module


def detector(num_classes: int) -> nn.Module:
    return parts(backbone=nn.Identity(), bbox_head=Head(num_classes))


def text_prompted(num_words: int = 256) -> nn.Module:
    """A detector such as GLIP, whose head counts words."""
    return parts(language_model=nn.Identity(), bbox_head=Head(num_words))


def check(model: nn.Module, classes: object = ('cat', 'dog')) -> None:
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(classes=classes)))
    loop = SimpleNamespace(dataloader=loader)
    runner = SimpleNamespace(model=model, test_loop=loop, test_dataloader=loader)
    ClassCountHook().before_test(runner)


WRAPPED = {
    'alone': lambda network: network,
    'in DDP': lambda network: parts(module=network),
    'in a distiller': lambda network: parts(student=network),
    'in a distiller in DDP': lambda network: parts(module=parts(student=network)),
    'as a peer': lambda network: parts(student=detector(2), peers=parts(b=network)),
}
wrapped = pytest.mark.parametrize('wrap', WRAPPED.values(), ids=WRAPPED)


@wrapped
def test_a_text_prompted_detector_is_not_checked(wrap):
    check(wrap(text_prompted()))


@wrapped
def test_another_detector_is_checked(wrap):
    check(wrap(detector(2)))
    with pytest.raises(
        InputError, match=r'bbox_head has 3 classes and the test data 2 \(cat, dog\)'
    ):
        check(wrap(detector(3)))


@pytest.mark.parametrize('ddp', [False, True])
def test_exits_of_a_text_prompted_student_are_not_checked(ddp):
    distiller = parts(student=text_prompted(), exits=nn.ModuleList([detector(256)]))
    check(parts(module=distiller) if ddp else distiller)


def test_exits_of_another_student_are_checked():
    with pytest.raises(InputError, match=r'^exits\.0\.bbox_head has 3 classes'):
        check(parts(student=detector(2), exits=nn.ModuleList([detector(3)])))


def test_a_peer_of_a_text_prompted_detector_is_checked():
    with pytest.raises(InputError, match=r'^peers\.b\.bbox_head has 3 classes'):
        check(parts(student=text_prompted(), peers=parts(b=detector(3))))


def test_classes_given_as_a_string_are_refused():
    with pytest.raises(InputError, match=r"metainfo\.classes is a tuple, \('cat',\), got a string"):
        check(detector(1), 'cat')


def classifier(num_classes: int) -> nn.Module:
    return parts(head=Head(num_classes))


def check_training(model: nn.Module, labels: list[int], classes: tuple | None) -> None:
    dataset = SimpleNamespace(metainfo=dict(classes=classes), get_gt_labels=lambda: labels)
    loop = SimpleNamespace(dataloader=SimpleNamespace(dataset=dataset))
    ClassCountHook().before_train(SimpleNamespace(model=model, train_loop=loop, val_loop=None))


ANIMALS = ('cat', 'dog', 'cow')


def test_a_classifier_with_fewer_classes_than_the_data_is_refused():
    said = r'images of class 2 \(cow\), counted from 0, and .* 2 classes: set num_classes .* to 3'
    with pytest.raises(InputError, match=said):
        check_training(classifier(2), [0, 2, 1], ANIMALS)


def test_classes_without_an_image_need_no_logit():
    check_training(classifier(2), [0, 1, 1], ANIMALS)
    check_training(classifier(9), [0, 2, 1], ANIMALS)
    check_training(classifier(2), [0, 1], None)


def test_wrapped_data_sets_are_checked():
    parts_of_it = [
        SimpleNamespace(metainfo={}, get_gt_labels=lambda labels=labels: labels)
        for labels in ([0], [2])
    ]
    for dataset in (
        SimpleNamespace(metainfo=dict(classes=ANIMALS), datasets=parts_of_it),
        SimpleNamespace(metainfo=dict(classes=ANIMALS), dataset=parts_of_it[1]),
    ):
        loop = SimpleNamespace(dataloader=SimpleNamespace(dataset=dataset))
        runner = SimpleNamespace(model=classifier(2), train_loop=loop, val_loop=None)
        with pytest.raises(InputError, match=r'images of class 2 \(cow\)'):
            ClassCountHook().before_train(runner)


def test_a_label_without_a_name_is_refused_by_its_number():
    with pytest.raises(InputError, match=r'images of class 5, .* set num_classes .* to 6'):
        check_training(classifier(2), [0, 5], ANIMALS)


@pytest.mark.parametrize('labels', [[[0, 2], [1]], [[0, 2], [1, 2]], [], [[]], [0.5]])
def test_data_without_one_label_for_each_image_are_not_checked(labels):
    check_training(classifier(2), labels, ANIMALS)


def test_a_loop_without_a_data_loader_is_not_checked():
    loops = dict(train_loop=SimpleNamespace(), val_loop=SimpleNamespace())
    ClassCountHook().before_train(SimpleNamespace(model=classifier(2), **loops))
    ClassCountHook().before_test(SimpleNamespace(model=classifier(2), test_loop=None))


def test_student_and_peers_are_checked():
    distiller = small_distiller('ce', num_classes=5)
    with pytest.raises(InputError, match=r'the head of ImageClassifier has 5 classes'):
        check_training(distiller, [5], tuple('abcdef'))
    peers = [
        dict(name=name, model=network(4, number), taps=SMALL_TAPS)
        for name, number in (('a', 6), ('b', 5))
    ]
    online = OnlineDistiller(peers, [dict(type='mmmuse.AttentionTransferLoss')])
    with pytest.raises(InputError, match=r'the head of ImageClassifier has 5 classes'):
        check_training(online, [5], tuple('abcdef'))
