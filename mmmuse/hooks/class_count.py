from collections.abc import Iterable
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmmuse.distillers import OnlineDistiller
from mmmuse.errors import InputError
from mmmuse.registry import HOOKS

from .student_checkpoint import distiller_of, unwrapped

_HEADS = ('bbox_head', 'decode_head')


@HOOKS.register_module()
class ClassCountHook(Hook):
    """Check that heads have as many classes as the data, in training and tests.

    Detectors that read class names as text are not checked, also as the student or a peer of a
    distiller: their heads count words.
    The head of a classifier may have more classes than the labels of the training data, but not fewer. Data of several
    labels for an image are not checked.
    ``mmmuse train`` and ``mmmuse test`` add this hook.

    Raises:
        InputError: If the numbers of classes differ, or a classifier has fewer.
    """

    def before_train(self, runner: Runner) -> None:
        """Check the training and the validation data."""
        distiller = distiller_of(runner)
        if isinstance(distiller, OnlineDistiller):
            networks = list(distiller.networks.values())
        else:
            networks = [unwrapped(runner.model) if distiller is None else distiller.student]
        loader = getattr(runner.train_loop, 'dataloader', None)
        if loader is None:  # A loop of the user.
            return
        for network in networks:
            _check_classifier(network, loader.dataset)
        _check(runner, 'train', loader)
        if hasattr(runner.val_loop, 'dataloader'):
            _check(runner, 'val', runner.val_dataloader)

    def before_test(self, runner: Runner) -> None:
        """Check the test data."""
        if hasattr(runner.test_loop, 'dataloader'):
            _check(runner, 'test', runner.test_dataloader)


def _check_classifier(network: nn.Module, dataset: Any) -> None:
    """Refuse labels for which a classifier of mmpretrain has no logit."""
    number = getattr(getattr(network, 'head', None), 'num_classes', None)
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if (
        not isinstance(number, int)
        or not isinstance(classes, (list, tuple))
        or len(classes) <= number
    ):
        return
    # A data set may name classes that none of its images has. To read all labels takes time.
    largest = _largest_label(dataset)
    if largest >= number:
        name = f' ({classes[largest]})' if largest < len(classes) else ''
        raise InputError(
            f'the training data have images of class {largest}{name}, counted from 0, and the head of '
            f'{type(network).__name__} has {number} classes: set num_classes of the head to '
            f'{max(largest + 1, len(classes))}'
        )


def _largest_label(dataset: Any) -> int:
    """Return the largest class of the images; 0 if a data set does not have one label for each."""
    if hasattr(dataset, 'datasets'):
        return max(map(_largest_label, dataset.datasets), default=0)
    if not hasattr(dataset, 'get_gt_labels') and hasattr(dataset, 'dataset'):
        return _largest_label(dataset.dataset)
    try:
        labels = np.asarray(dataset.get_gt_labels())
    except (AttributeError, LookupError, TypeError, ValueError):  # Of several labels, or of none.
        return 0
    return (
        int(labels.max()) if labels.ndim == 1 and labels.size and labels.dtype.kind in 'iu' else 0
    )


def _check(runner: Runner, split: str, loader: DataLoader) -> None:
    classes = (getattr(loader.dataset, 'metainfo', None) or {}).get('classes')
    if classes is None:
        return
    modules = dict(runner.model.named_modules())
    text_prompted = _text_prompted(modules)
    heads = {
        name: getattr(module, 'num_classes', len(classes))
        for name, module in modules.items()
        if any(kind in name for kind in _HEADS) and not name.startswith(text_prompted)
    }
    if not heads:
        return
    if isinstance(classes, str):
        raise InputError(f"{split} data: metainfo.classes is a tuple, ('{classes}',), got a string")
    for name, number in heads.items():
        if number != len(classes):
            raise InputError(
                f'{name} has {number} classes and the {split} data {len(classes)} '
                f'({", ".join(classes[:3])}{", ..." if len(classes) > 3 else ""}): set num_classes '
                'of the head, or metainfo.classes of the data set'
            )


def _text_prompted(modules: Iterable[str]) -> tuple[str, ...]:
    """Return the prefixes of the modules of detectors that read class names as text.

    A detector may be in a wrapper of MMEngine, or the student or a peer of a distiller. The exits
    of a student are heads of its kind.
    """
    prefixes = set()
    for name in modules:
        owner, _, part = name.rpartition('.')
        if part == 'language_model':
            prefixes.add(f'{owner}.' if owner else '')
            if owner.rpartition('.')[2] == 'student':
                distiller = owner.removesuffix('student')
                prefixes.update((f'{distiller}exits.', f'{distiller}muse.'))
    return tuple(prefixes)
