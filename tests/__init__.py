import gc
import sys

from mmmuse.compat.deferred_multimodal import defer_multimodal
from mmmuse.compat.deferred_names import defer_slow_names

if 'pytest' in sys.modules:
    gc.disable()  # Until the tests are collected (conftest.py): the imports leave no garbage.
# As the commands do: each process of the tests would import transformers, for four seconds.
defer_slow_names()
defer_multimodal()
