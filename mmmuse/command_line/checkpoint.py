"""Check a checkpoint before a run writes files."""

from mmengine.runner import find_latest_checkpoint

from mmmuse.checkpoints.files import read_checkpoint

from .resume import choose_checkpoint


def check_before_loading(config, trust: bool) -> None:
    """Check the file that a run with this config would load or resume from, if any.

    URLs are not checked here.

    Raises:
        InputError: If it cannot be loaded; see :func:`mmmuse.checkpoints.files.read_checkpoint`.
    """
    if config.get('load_from') is None and config.get('resume'):
        choose_checkpoint(config, trust)  # It has read it.
        if config.get('load_from') is not None:
            return
    path = config.get('load_from')
    if path is None and config.get('resume'):
        path = find_latest_checkpoint(config.work_dir)
    if path is not None and '://' not in path:
        read_checkpoint(path, trust)
