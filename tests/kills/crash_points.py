"""The moments in which a run writes files, to be killed in one of them."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

Act = Callable[[], None]


@contextmanager
def crash_points(
    at: int, act: Act, count: Callable[[int], None] = lambda number: None
) -> Iterator[None]:
    """Call ``act`` at one of the moments before and after a file is synced, renamed or removed.

    A file that is not yet synced is cut in half first, as it may be on a disk.

    Args:
        at: The number of the moment, from 1; 0 for none.
        act: Kills the process, or raises an exception.
        count: Called with the number of each moment.
    """
    number = 0

    def reached(cut: int | None = None) -> None:
        nonlocal number
        number += 1
        count(number)
        if number == at:
            if cut is not None and os.path.isfile(f'/proc/self/fd/{cut}'):
                os.ftruncate(cut, os.fstat(cut).st_size // 2)
            act()

    def patched(name: str) -> mock._patch:
        original = getattr(os, name)

        def call(*args, **kwargs):
            reached(args[0] if name == 'fsync' else None)
            result = original(*args, **kwargs)
            reached()
            return result

        return mock.patch.object(os, name, call)

    with patched('fsync'), patched('replace'), patched('remove'):
        yield
