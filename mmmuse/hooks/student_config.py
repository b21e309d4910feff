from mmengine.dist import is_main_process
from mmengine.fileio import get_file_backend
from mmengine.hooks import CheckpointHook, Hook

from mmmuse.checkpoints.student_config import student_configs
from mmmuse.checkpoints.synced_write import SYNCED
from mmmuse.registry import HOOKS


@HOOKS.register_module()
class StudentConfigHook(Hook):
    """Write the plain config of the student, ``student.py``, beside the checkpoints.

    With it, OpenMMLab's tools load the checkpoints without mmmuse. In online distillation there is one
    for each peer, ``student.NAME.py``, too. The files are written with the first checkpoint, into the
    work dir and, if the checkpoints are elsewhere, beside them. A network that is given as a built
    model, without a config, has no file. ``StudentCheckpointHook`` registers this hook.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self._written = False

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Write the files, once in a process."""
        if self._written or not is_main_process():
            return
        self._written = True
        texts = student_configs(runner.cfg)
        if not texts:
            runner.logger.warning('No student.py: the run has no config of the student.')
        for folder, options in _folders(runner).items():
            backend = get_file_backend(folder, backend_args=options)
            for name, text in texts.items():
                backend.put_text(text, backend.join_path(folder, name))


def _folders(runner) -> dict[str, dict | None]:
    """Return the folders with checkpoints, and the arguments of their file backends."""
    folders: dict[str, dict | None] = {runner.work_dir: dict(backend=SYNCED)}
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and getattr(hook, 'out_dir', None):
            folders.setdefault(str(hook.out_dir), hook.backend_args)
    return folders
