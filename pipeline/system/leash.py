"""End a process when the one that started it ends, even if that is killed."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def end_with(parent: int) -> None:
    """Let the system kill this process when its parent ends; Linux alone can.

    A thread of this process that waits for the parent would come too late where C++ code holds
    the interpreter for seconds.

    Args:
        parent: Process id of the parent. If that has ended already, this process ends now.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
