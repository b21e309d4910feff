import torch
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop

from mmmuse.distillers import TeacherCache
from mmmuse.errors import InputError
from mmmuse.registry import HOOKS

from .student_checkpoint import distiller_of


@HOOKS.register_module()
class TrainingLabelsHook(Hook):
    """Pass the training set's labels to a distiller whose losses need them, and its images to a teacher's cache.

    CRD's memory has a row for each training image and draws negatives of other classes; a
    teacher's cache is compared with the training set. This is done before weights are loaded, so
    that a resumed memory has its size. ``mmmuse train`` adds this hook.

    Raises:
        InputError: If the data set does not give its labels (``get_gt_labels``), or the cache is of another one.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner) -> None:
        """Call :meth:`mmmuse.distillers.BaseDistiller.prepare`."""
        model = distiller_of(runner)
        # In a test the training loop is not built: it is still a config.
        if model is None or not model.needs_labels or not isinstance(runner._train_loop, BaseLoop):
            return
        dataset = runner._train_loop.dataloader.dataset
        if not hasattr(dataset, 'get_gt_labels'):
            raise InputError(
                f'{model.needs_labels} needs the label of every training image, and '
                f'{type(dataset).__name__} has no get_gt_labels(); use a data set without wrappers'
            )
        model.prepare(torch.as_tensor(dataset.get_gt_labels()))
        if isinstance(getattr(model, 'teacher', None), TeacherCache):
            model.teacher.check_data_set(dataset)
