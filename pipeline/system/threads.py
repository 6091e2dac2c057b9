"""Threads for work on single pictures, most of which is done without Python's lock."""

import os
from concurrent.futures import ThreadPoolExecutor

MOST = 8


def pool() -> ThreadPoolExecutor:
    """Make a pool with a thread per core, and not more than `MOST`."""
    return ThreadPoolExecutor(min(os.cpu_count() or 1, MOST))
