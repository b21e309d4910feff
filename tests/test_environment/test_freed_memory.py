"""Freed memory is kept where malloc is glibc's, and only there. Each case is a process of its own."""

import ctypes
import os
import shutil
import subprocess
import sys

import pytest

GLIBC = sys.platform.startswith('linux') and hasattr(ctypes.CDLL(None), 'gnu_get_libc_version')
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not GLIBC, reason='malloc is not that of glibc'),
]

# Four buffers of 40 MiB, more than any dynamic threshold of glibc, are filled and freed; then once
# more, and the page faults of that are counted.
PROGRAM = """
import mmap, resource, sys
from mmmuse.environment.freed_memory import keep_freed_memory

kept = keep_freed_memory()
def step():
    buffers = [bytearray(b'x') * (40 << 20) for _ in range(4)]
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(kept, faults * mmap.PAGESIZE >> 20)
assert 'torch' not in sys.modules and 'numpy' not in sys.modules
"""
MIB = 4 * 40
OWN = ('MMMUSE_KEEP_MEMORY', 'GLIBC_TUNABLES', 'LD_PRELOAD', 'PYTHONMALLOC')


def run(**variables: str) -> tuple[bool, int]:
    """Return whether memory is kept, and the MiB of new pages in the second step."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in OWN and not name.startswith('MALLOC_')
    }
    command = [sys.executable, '-c', PROGRAM]
    done = subprocess.run(
        command, env={**environment, **variables}, capture_output=True, text=True, check=True
    )
    kept, faulted = done.stdout.split()
    return kept == 'True', int(faulted)


def test_a_second_step_faults_for_none_of_the_memory_of_the_first():
    kept, faulted = run()
    assert kept
    assert faulted < MIB / 20


@pytest.mark.parametrize(
    'variables',
    [
        dict(MMMUSE_KEEP_MEMORY='0'),
        dict(MALLOC_TRIM_THRESHOLD_='131072'),
        dict(GLIBC_TUNABLES='glibc.malloc.mmap_threshold=131072'),
    ],
    ids=lambda variables: next(iter(variables)),
)
def test_the_environment_decides_before_mmmuse(variables):
    kept, _ = run(**variables)
    assert not kept


def test_another_allocator_is_left_alone(tmp_path):
    compiler = shutil.which('cc') or shutil.which('gcc')
    if compiler is None:
        pytest.skip('no C compiler')
    source, library = tmp_path / 'allocator.c', tmp_path / 'allocator.so'
    source.write_text(
        'void *__libc_malloc(unsigned long);\n'
        'void *malloc(unsigned long size) { return __libc_malloc(size); }\n'
    )
    subprocess.run([compiler, '-shared', '-fPIC', source, '-o', library], check=True)
    kept, _ = run(LD_PRELOAD=str(library))
    assert not kept
