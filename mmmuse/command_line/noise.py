"""Messages of OpenMMLab's libraries at start-up that are of no use to a user."""

import logging
import warnings
from typing import Any

# Of packages that nobody asked for, and of names that MMEngine itself still uses.
_USELESS_WARNINGS = ('faster_coco_eval is not installed', 'pkg_resources is deprecated')
_USELESS_LOGS = (
    '"FileClient" will be deprecated in future',
    '"HardDiskBackend" is the alias of "LocalBackend"',
)
_silenced = [False]


def silence_start_up() -> None:
    """Omit the messages of missing optional packages; called before the libraries are imported.

    ``print_log`` without a logger prints at any level. From now on it does not at the level DEBUG, as a
    logger of the level INFO does not. The look-up of each part in a registry is a message of this level, which
    is made although no logger of a higher level writes it: it is not made any more.
    """
    from mmengine import logging as mmengine_logging

    _silenced[0] = True
    for message in _USELESS_WARNINGS:
        warnings.filterwarnings('ignore', message=message)
    original = mmengine_logging.print_log
    if getattr(original, 'omits_debug', False):
        return

    def print_log(msg: Any, logger: Any = None, level: int = logging.INFO) -> None:
        if level > logging.DEBUG or _writes_debug(logger):
            original(msg, logger, level)

    print_log.omits_debug = True
    mmengine_logging.print_log = print_log


def _writes_debug(logger: Any) -> bool:
    """Return whether a message of the level DEBUG may be written by what ``print_log`` takes for a logger."""
    if logger == 'current':
        from mmengine.logging import MMLogger

        logger = MMLogger.get_current_instance()
    if isinstance(logger, logging.Logger) and logger.handlers:
        return any(handler.level <= logging.DEBUG for handler in logger.handlers)
    return logger is not None


def silence_logger(logger: logging.Logger) -> None:
    """Omit deprecations that MMEngine logs of itself, unless the command is verbose."""
    if _silenced[0] and _is_useful not in logger.filters:
        logger.addFilter(_is_useful)


def _is_useful(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_USELESS_LOGS)
