"""Check a checkpoint before a run writes files."""

from pathlib import Path

from mmengine.runner import find_latest_checkpoint

from mmmuse.checkpoints.content import check_resumable
from mmmuse.checkpoints.files import read_checkpoint
from mmmuse.checkpoints.regular_file import NOT_FOUND, why_no_file
from mmmuse.errors import InputError

from .resume import choose_checkpoint


def check_before_loading(config, trust: bool, weights: str | None = None) -> str | None:
    """Check the file that a run with this config would load or resume from, if any.

    URLs are not checked here.

    Args:
        config: The config. Without anything to resume, ``load_from`` becomes ``weights``.
        trust: Accept files that hold more than weights.
        weights: The ``load_from`` of a run that was started with ``--resume``.

    Returns:
        The checkpoint that ``--resume`` without a file chooses; for
        :func:`mmmuse.command_line.run.run`, since a dumped config is to choose again.

    Raises:
        InputError: If it cannot be loaded or resumed from; see
            :func:`mmmuse.checkpoints.files.read_checkpoint` and
            :func:`mmmuse.checkpoints.content.check_resumable`.
    """
    path = config.get('load_from')
    if path is None and config.get('resume'):
        chosen = choose_checkpoint(config, trust)  # It has read it.
        if chosen is not None:
            return chosen
        path = _latest(Path(config.work_dir)) if config.resume else None
        if path is None:
            config.resume, config.load_from, path = False, weights, weights
    if path is not None and '://' not in path:
        content = read_checkpoint(path, trust)
        if config.get('resume'):
            check_resumable(content, path)
    return None


def _latest(work_dir: Path) -> str | None:
    """Return the checkpoint that the file ``last_checkpoint`` of a work dir names, if any."""
    pointer = work_dir / 'last_checkpoint'
    why = why_no_file(pointer)
    if why not in (None, NOT_FOUND):
        raise InputError(f'cannot read {pointer}: {why}')
    try:
        return find_latest_checkpoint(str(work_dir))
    except UnicodeDecodeError as error:
        raise InputError(
            f'{pointer} is not the path of a checkpoint: pass --resume with one'
        ) from error
