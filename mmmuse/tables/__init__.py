"""Tables of many runs: planning, running, reading the results and writing the report."""

from .plan import Row, Run, Table, plan_runs, read_table
from .record import Record, read_record
from .report import write_report
from .slots import run_all

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
