"""What a report of a run shows."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .exit_figure import Line
from .run_accuracy import Chosen, Column
from .run_costs import RunCost
from .run_record import RunRecord

NOT_MEASURED = 'not measured'


class Report(NamedTuple):
    """What a report shows.

    Attributes:
        record: Of the run.
        columns: See :func:`mmmuse.analysis.run_accuracy.columns_of`.
        accuracy: Of each exit in the last evaluation.
        costs: Of each exit; empty where they were not counted.
        cost_note: The shape of the image that they are of, or why they were not counted.
        baseline: To compare with.
        chosen: The chosen exit; None in a run without exits.
        early_exit: Rows of :func:`mmmuse.analysis.early_exit_table.read_early_exit`.
        pictures: PNGs of detections by their titles.
        config_text: The dumped config.
    """

    record: RunRecord
    columns: Sequence[Column] = ()
    accuracy: Mapping[int, float] = {}
    costs: Mapping[int, RunCost] = {}
    cost_note: str = ''
    baseline: Line | None = None
    chosen: Chosen | None = None
    early_exit: Sequence[dict] = ()
    pictures: Mapping[str, bytes] = {}
    config_text: str = ''

    @property
    def chosen_number(self) -> int | None:
        return self.chosen.choice.number if self.chosen else None

    @property
    def metric(self) -> str:
        return self.record.evaluations.title_with_unit

    def shown(self, value: float | None) -> str:
        """Return an accuracy in the digits of its metric."""
        return number(value, 2 if self.record.evaluations.unit == '%' else 3)


def number(value: float | None, digits: int) -> str:
    """Return a figure as it is printed; ``not measured`` for None."""
    if value is None:
        return NOT_MEASURED
    return f'{value:.{digits}f}' if math.isfinite(value) else str(value)
