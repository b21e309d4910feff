"""What malloc does with freed memory: kept for the next allocation, or returned to the system.

By default glibc returns large buffers, such as the feature maps of a training step on a CPU, to the
system when they are freed. The next step gets new pages, and the kernel clears each of them at a
page fault.
"""

import ctypes
import os
import sys

VARIABLE = 'MMMUSE_KEEP_MEMORY'  # Of the environment: 0 leaves malloc as it is.
# mallopt's parameters and values, from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_NEVER = -1
# A buffer of this size or more is still returned. Some versions of glibc accept half a heap at most.
_MMAP_BYTES = (1 << 30, 32 << 20)


class _SymbolInfo(ctypes.Structure):
    """``Dl_info`` of dlfcn.h."""

    _fields_ = (
        ('file', ctypes.c_char_p),
        ('base', ctypes.c_void_p),
        ('symbol', ctypes.c_char_p),
        ('address', ctypes.c_void_p),
    )


def keep_freed_memory() -> bool:
    """Make this process, and those forked from it, keep freed memory of up to 1 GiB per buffer.

    It does nothing where malloc is not glibc's (musl, macOS, Windows, a preloaded allocator), where
    the environment sets malloc's thresholds itself, and where ``MMMUSE_KEEP_MEMORY`` is 0.

    Returns:
        Whether malloc now keeps the memory.
    """
    if os.environ.get(VARIABLE) == '0' or _set_by_environment():
        return False
    libc = _glibc_of_malloc()
    if libc is None:
        return False
    # The threshold of mmap first: if it is refused, nothing has changed.
    if not any(libc.mallopt(_M_MMAP_THRESHOLD, size) for size in _MMAP_BYTES):
        return False
    return bool(libc.mallopt(_M_TRIM_THRESHOLD, _NEVER))


def _set_by_environment() -> bool:
    """Return whether the user has chosen how malloc treats freed memory."""
    names = ('MALLOC_MMAP_THRESHOLD_', 'MALLOC_TRIM_THRESHOLD_', 'MALLOC_MMAP_MAX_')
    tunables = os.environ.get('GLIBC_TUNABLES', '')
    return any(name in os.environ for name in names) or any(
        f'glibc.malloc.{name}' in tunables
        for name in ('mmap_threshold', 'trim_threshold', 'mmap_max')
    )


def _glibc_of_malloc() -> ctypes.CDLL | None:
    """Return glibc if the process allocates with it; None for any other allocator."""
    if not sys.platform.startswith('linux'):
        return None
    try:
        process = ctypes.CDLL(None)
        functions = [
            process[name] for name in ('gnu_get_libc_version', 'malloc', 'free', 'mallopt')
        ]
        process.dladdr.argtypes = (ctypes.c_void_p, ctypes.POINTER(_SymbolInfo))
        libraries = {_library_of(process, function) for function in functions}
    except (OSError, AttributeError):  # A C library without one of the functions.
        return None
    return process if len(libraries) == 1 and None not in libraries else None


def _library_of(process: ctypes.CDLL, function: object) -> int | None:
    """Return the address at which the library of a function is loaded."""
    info = _SymbolInfo()
    found = process.dladdr(ctypes.cast(function, ctypes.c_void_p), ctypes.byref(info))
    return info.base if found else None
