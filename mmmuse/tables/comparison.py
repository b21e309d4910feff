"""The differences between the rows of a table and its references."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mmmuse.analysis.difference import Difference, paired_difference

from .plan import Table
from .record import Record

# By the row's name, then by the seed.
Records = Mapping[str, Mapping[int, Record]]


class Comparison(NamedTuple):
    """A row against a reference, in the last epoch.

    Attributes:
        row: Name of the row.
        reference: Name of the row that it is compared with.
        differences: By column; those that both rows have.
    """

    row: str
    reference: str
    differences: dict[str, Difference]

    @property
    def full(self) -> Difference:
        """Of the full network."""
        return self.differences['top1']


def compared(table: Table, records: Records, columns: Sequence[str]) -> list[Comparison]:
    """Return the comparisons of each row with each reference of the table.

    A reference, a row with a seed of its own, and a row of another metric than the reference's are left out, and so
    are rows that share no finished seed.

    Args:
        table: With ``references``.
        records: Of the finished runs.
        columns: Of figures, ``'top1'`` for the full network.
    """
    metrics = {row.name: row.metric for row in table.rows}
    found = []
    for row in table.rows:
        for reference in table.references:
            if row.seed is None and row.name != reference and row.metric == metrics[reference]:
                differences = {
                    column: difference
                    for column in columns
                    if (difference := _difference(records[row.name], records[reference], column))
                }
                if differences:
                    found.append(Comparison(row.name, reference, differences))
    return found


def _difference(
    records: Mapping[int, Record], reference: Mapping[int, Record], column: str
) -> Difference | None:
    values, others = (
        {seed: last[column] for seed, record in each.items() if column in (last := record.last())}
        for each in (records, reference)
    )
    return paired_difference(values, others)
