"""Tells the C library what to do with memory that is freed."""

import ctypes
import platform

# From malloc.h: https://man7.org/linux/man-pages/man3/mallopt.3.html
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next allocation of any thread.

    The layers of a network allocate megabytes thousands of times. Otherwise the kernel would provide each anew, page by
    page, which takes a tenth of the time (docs/diary.md, 2026-11-28). Without glibc (macOS, Windows, musl) nothing
    changes.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, 2**25)  # the largest value that all versions accept
    libc.mallopt(_M_TRIM_THRESHOLD, 2**30)
    libc.mallopt(_M_ARENA_MAX, 1)
