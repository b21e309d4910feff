"""Commands of the pages are run in this process, which has imported the libraries already."""

from ..onnx_operators import onnx_operators_collected_once
from ..test_tools.conftest import few_timed_calls, half_of_the_digits

__all__ = ['few_timed_calls', 'half_of_the_digits', 'onnx_operators_collected_once']
