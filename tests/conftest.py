"""Small models and data shared by the tests; nothing is downloaded."""

import gc
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import uuid4

import mmengine
import pytest
import torch
from hypothesis import settings
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.utils import digit_version
from mmpretrain.structures import DataSample

from mmmuse.backbones.resnet_cifar import BasicBlock, ResNet_CIFAR
from mmmuse.distillers import SelfDistiller
from mmmuse.heads.variants import variant_head

from .done_once import done_once
from .slow import (  # noqa: F401 - hooks and a fixture of all tests.
    _slow_tests_are_marked,
    pytest_collection_modifyitems,
    pytest_runtest_protocol,
)

ROOT = Path(__file__).resolve().parents[1]
CIFAR100 = ROOT / 'data' / 'cifar100'

# The same examples every time, on a machine of any speed.
settings.register_profile('mmmuse', derandomize=True, deadline=None, database=None, max_examples=50)
settings.load_profile('mmmuse')
# On tensors this small a second thread only waits, for long where the machine has other work.
torch.set_num_threads(1)
# The first backward pass of a process starts a thread for each device, and a process that has started one cannot fork. A fake
# tensor, as in an export, registers a CUDA device that is not there. So the first pass runs before any test.
torch.ones(1, requires_grad=True).backward()


@pytest.fixture(autouse=True)
def _no_closed_log_files() -> None:
    """Take log files out of MMEngine's loggers that the run of another test has closed."""
    for logger in MMLogger._instance_dict.values():
        for handler in list(logger.handlers):
            if isinstance(handler, logging.FileHandler) and handler.stream is None:
                logger.removeHandler(handler)


def needs_torch(version: str, reason: str) -> pytest.MarkDecorator:
    """Mark a test of what older versions of PyTorch do not have; docs/environments.md lists these."""
    found = torch.__version__
    return pytest.mark.skipif(found < version, reason=f'torch {version}, found {found}: {reason}')


def needs_mmengine(version: str, reason: str) -> pytest.MarkDecorator:
    """Mark a test of what older versions of MMEngine do not have."""
    older = digit_version(mmengine.__version__) < digit_version(version)
    reason = f'mmengine {version}, found {mmengine.__version__}: {reason}'
    return pytest.mark.skipif(older, reason=reason)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Any:
    """Keep what the imports make out of the garbage collector's sight: it stays until the end.

    MMEngine collects garbage at each data set, and would visit it all: half a second.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.fixture(scope='session', autouse=True)
def _done_once() -> Iterator[None]:
    with done_once():
        yield


@pytest.fixture(scope='module', autouse=True)
def _scope_of_the_file() -> Iterator[None]:
    """Begin each file in mmpretrain's scope, and behind no run; fixtures of modules may then set another scope."""
    name = f'file_{uuid4().hex}'
    MessageHub.get_instance(name)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield
    MessageHub._instance_dict.pop(name, None)  # A command of the file may have done it.


@pytest.fixture(autouse=True)
def _seed_and_scope() -> Iterator[None]:
    """Leave MMEngine's default scope as it was: it is the last one made, so a test's own would stay."""
    torch.manual_seed(0)
    scope = DefaultScope.get_current_instance()  # None behind a command that a fixture has run.
    with DefaultScope.overwrite_default_scope('mmpretrain' if scope is None else scope.scope_name):
        yield


@pytest.fixture(autouse=True)
def _environment_as_before() -> Iterator[None]:
    """Leave the variables of the environment as they were: a command sets some for the rest of its process."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture
def hub() -> MessageHub:
    """The current message hub, as a runner of many epochs has it; gone after the test."""
    name = f'test_{uuid4().hex}'
    hub = MessageHub.get_instance(name)
    hub.update_info_dict(dict(seed=0, epoch=0, iter=0, max_epochs=200))
    yield hub
    MessageHub._instance_dict.pop(name)


@pytest.fixture
def cifar100_root() -> str:
    if not (CIFAR100 / 'cifar-100-python' / 'train').exists():
        pytest.skip('CIFAR-100 is not in data/cifar100')
    return str(CIFAR100)


# What a test learns from two blocks in each of four stages it learns from one.
ResNet_CIFAR.arch_settings[10] = (BasicBlock, (1, 1, 1, 1))


def small_classifier_config(num_classes: int = 5, in_channels: int = 3) -> dict:
    """A CIFAR ResNet-10 of 8-16-32-64 channels."""
    return dict(
        type='mmpretrain.ImageClassifier',
        _scope_='mmpretrain',
        backbone=dict(
            type='ResNet_CIFAR', depth=10, in_channels=in_channels, stem_channels=8, base_channels=8
        ),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=num_classes, in_channels=64),
    )


def two_stage_config(num_classes: int = 5, width: int = 8, **backbone) -> dict:
    """The first two stages of the small classifier, for what takes long at each of its layers."""
    config = small_classifier_config(num_classes)
    config['backbone'].update(num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(1,))
    config['backbone'].update(stem_channels=width, base_channels=width, **backbone)
    config['head'].update(in_channels=2 * width)
    return config


TWO_STAGE_TAPS = dict(modules=['backbone.layer1'], last='backbone.layer2', logits='head')
TAPS = dict(
    modules=['backbone.layer1', 'backbone.layer2', 'backbone.layer3'],
    last='backbone.layer4',
    logits='head',
)


def small_distiller(variant: str = 'mi_x_si', num_classes: int = 5, **options) -> SelfDistiller:
    """The small classifier, wrapped for a named variant as a config would; critics 16 wide.

    Its exits predict as if they were trained.
    """
    head = variant_head(variant)
    if head.get('discrepancy', {}).get('type') == 'mmmuse.MUSELoss':
        head['discrepancy']['critic'].update(hidden_channels=16)
    arguments = dict(
        student=small_classifier_config(num_classes),
        taps=TAPS,
        head=head,
        neck=dict(type='mmmuse.SelfDistillNeck'),
    )
    return as_trained(SelfDistiller(**{**arguments, **options}))


def labelled(labels) -> list[DataSample]:
    """Data samples with the given class labels."""
    return [DataSample().set_gt_label(label) for label in labels]


def as_trained(distiller):
    """The distiller, which takes the first weights of its exits and peers for trained ones."""
    distiller.added_weights.trained = True
    return distiller
