"""How many cores there are, and threads for work on single pictures.

Most of that work is done without Python's lock.
"""

import os
from concurrent.futures import ThreadPoolExecutor

MOST = 8


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pool() -> ThreadPoolExecutor:
    """Make a pool with a thread per core, and not more than `MOST`."""
    return ThreadPoolExecutor(min(cores(), MOST))
