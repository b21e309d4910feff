"""Check a checkpoint before a run writes files."""

from mmengine.runner import find_latest_checkpoint

from mmmuse.checkpoints.content import check_resumable
from mmmuse.checkpoints.files import read_checkpoint


def check_before_loading(config, trust: bool) -> None:
    """Check the file that a run with this config would load or resume from, if any.

    URLs are not checked here.

    Raises:
        InputError: If it cannot be loaded or resumed from; see
            :func:`mmmuse.checkpoints.files.read_checkpoint` and
            :func:`mmmuse.checkpoints.content.check_resumable`.
    """
    path = config.get('load_from')
    if path is None and config.get('resume'):
        path = find_latest_checkpoint(config.work_dir)
    if path is not None and '://' not in path:
        content = read_checkpoint(path, trust)
        if config.get('resume'):
            check_resumable(content, path)
