from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmmuse.errors import InputError
from mmmuse.registry import HOOKS

_HEADS = ('bbox_head', 'decode_head')


@HOOKS.register_module()
class ClassCountHook(Hook):
    """Check that the heads of a detector or a segmenter have as many classes as the data, in training and tests.

    Detectors that read class names as text are not checked: their heads count words.
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
    if classes is None or any(
        'language_model' in name for name, _ in runner.model.named_children()
    ):
        return
    if isinstance(classes, str):
        raise InputError(f"{split} data: metainfo.classes is a tuple, ('{classes}',), got a string")
    for name, module in runner.model.named_modules():
        is_head = any(kind in name for kind in _HEADS)
        if is_head and getattr(module, 'num_classes', len(classes)) != len(classes):
            raise InputError(
                f'{name} has {module.num_classes} classes and the {split} data {len(classes)} '
                f'({", ".join(classes[:3])}{", ..." if len(classes) > 3 else ""}): set num_classes '
                'of the head, or metainfo.classes of the data set'
            )
