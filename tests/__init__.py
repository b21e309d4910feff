import gc
import sys

if 'pytest' in sys.modules:
    gc.disable()  # Until the tests are collected (conftest.py): the imports leave no garbage.
