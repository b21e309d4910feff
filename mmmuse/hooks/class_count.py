from collections.abc import Iterable

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmmuse.errors import InputError
from mmmuse.registry import HOOKS

_HEADS = ('bbox_head', 'decode_head')


@HOOKS.register_module()
class ClassCountHook(Hook):
    """Check that the heads of a detector or a segmenter have as many classes as the data, in training and tests.

    Detectors that read class names as text are not checked, also as the student or a peer of a
    distiller: their heads count words.
    ``mmmuse train`` and ``mmmuse test`` add this hook for all detectors of mmdet and segmenters of mmseg.

    Raises:
        InputError: If the numbers of classes differ.
    """

    def before_train(self, runner: Runner) -> None:
        """Check the training and the validation data."""
        _check(runner, 'train', runner.train_dataloader)
        if runner.val_loop is not None:
            _check(runner, 'val', runner.val_dataloader)

    def before_test(self, runner: Runner) -> None:
        """Check the test data."""
        _check(runner, 'test', runner.test_dataloader)


def _check(runner: Runner, split: str, loader: DataLoader) -> None:
    classes = getattr(loader.dataset, 'metainfo', {}).get('classes')
    if classes is None:
        return
    modules = dict(runner.model.named_modules())
    text_prompted = _text_prompted(modules)
    heads = {
        name: getattr(module, 'num_classes', len(classes))
        for name, module in modules.items()
        if any(kind in name for kind in _HEADS) and not name.startswith(text_prompted)
    }
    if text_prompted and not heads:
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
