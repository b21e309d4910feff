"""The layout of configs in logs and files, which yapf makes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

# MMEngine imports the function where it is used, and in versions before 0.10.8 at the top of its module.
_HOLDERS = ('yapf.yapflib.yapf_api', 'mmengine.config.config')


@contextmanager
def laid_out_once() -> Iterator[None]:
    """Lay out the same config once, within the context.

    A run writes its config to the log, to the work dir and to each visualizer backend, and MMEngine has
    each copy laid out anew, in about 0.3 seconds of processor time.
    """
    from yapf.yapflib import yapf_api

    original = yapf_api.FormatCode

    @cache
    def laid_out(text: str, options: str) -> Any:
        return original(text, **given[options])

    given: dict[str, dict] = {}

    def format_code(text: str, **options: Any) -> Any:
        given.setdefault(repr(options), options)
        return laid_out(text, repr(options))

    changed = [
        module
        for name in _HOLDERS
        if getattr(module := sys.modules.get(name), 'FormatCode', None) is original
    ]
    for module in changed:
        module.FormatCode = format_code
    try:
        yield
    finally:
        for module in changed:
            module.FormatCode = original
