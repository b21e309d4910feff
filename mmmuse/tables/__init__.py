"""Many runs, one table: what is to be run, running it, reading it back, writing it down."""

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
