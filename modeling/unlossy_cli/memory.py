"""What the C library does with memory that is freed."""

import ctypes
import platform

# From malloc.h: https://man7.org/linux/man-pages/man3/mallopt.3.html
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def keep_freed_memory() -> None:
    """Let glibc keep what is freed for what is allocated next, whichever thread asks. A network's layers allocate
    megabytes thousands of times, and from the kernel they come anew each time, page by page. Without glibc (macOS,
    Windows, musl) nothing changes."""
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, 2**25)  # the most that every version takes
    libc.mallopt(_M_TRIM_THRESHOLD, 2**30)
    libc.mallopt(_M_ARENA_MAX, 1)
