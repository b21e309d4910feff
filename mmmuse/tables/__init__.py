"""Tables of many runs: planning, running, reading the results and writing the report."""

from .plan import Row, Run, Table, plan_runs, read_table
from .queue import run_all
from .record import Record, read_record
from .report import write_report

__all__ = [
    'Record',
    'Row',
    'Run',
    'Table',
    'plan_runs',
    'read_record',
    'read_table',
    'run_all',
    'write_report',
]
