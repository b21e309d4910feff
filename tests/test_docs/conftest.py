"""Commands of the pages are run in this process, which has imported the libraries already."""

from ..test_tools.conftest import few_timed_calls

__all__ = ['few_timed_calls']
