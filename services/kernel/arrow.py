"""How Arrow takes memory: pages of tables come and go by the megabyte, and must leave nothing."""

from __future__ import annotations

import ctypes
from typing import Final

import pyarrow as pa

_M_MMAP_THRESHOLD: Final = -3  # of <malloc.h>, as is the next
_M_ARENA_MAX: Final = -8
_LARGE_BYTES: Final = 256 << 10
_ARENAS: Final = 2  # threads that work on pages take turns; each heap of its own keeps megabytes


def give_freed_memory_back() -> None:
    """Makes the process as small again as it was before a page was worked on.

    Arrow's own pool keeps what was freed. So does glibc, which after the first large block that is
    freed takes even larger ones from its heap, where others come to lie behind them: a process that
    had read a million rows looked 75 MB larger for ever. A fixed threshold ends that, and two heaps
    instead of one a thread save 10 MB more.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's alone
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_ARENA_MAX, _ARENAS)
