"""The bar of long work in a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from .progress import Work, steps


class _Steps(ProgressColumn):
    """Finished steps and the time that is left, if the number of steps is known."""

    def render(self, task: Task) -> Text:
        if task.total is None:
            return Text('')
        return Text(steps(int(task.completed), int(task.total), task.elapsed or 0.0))


@contextmanager
def bar(work: Work, console: Console) -> Iterator[None]:
    """Show a bar that follows the work, and disappears at its end."""
    columns = (
        SpinnerColumn(),
        TextColumn('{task.description}'),
        BarColumn(),
        _Steps(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as progress:
        task = progress.add_task(work.what, total=work.total)
        work.changed = lambda: progress.update(task, completed=work.done, total=work.total)
        yield
