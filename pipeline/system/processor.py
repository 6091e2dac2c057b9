"""What the processor can do that TensorFlow does not make use of by itself."""

import os
import sys
from pathlib import Path

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"  # TensorFlow reads it when it is imported
CPUINFO = Path("/proc/cpuinfo")


def prefer_onednn(cpuinfo: Path = CPUINFO) -> bool:
    """Have TensorFlow compute with oneDNN where its kernels are the faster ones.

    TensorFlow turns them on by itself only on some processors with AVX-512. On the others with
    AVX-512 they make a training step 1.1 to 2.3 times as fast, on processors without it some are
    slower (`docs/log.md`). A variable that the user has set is left as it is, and so is a process
    that has TensorFlow already, which would compute with both.

    oneDNN of TensorFlow 2.21 cannot compute a `SeparableConv2D` of one pixel on one channel.

    Args:
        cpuinfo: Where the system lists the abilities of the processor.

    Returns:
        Whether this call turned it on.
    """
    if VARIABLE in os.environ or "tensorflow" in sys.modules:
        return False
    try:
        found = "avx512f" in cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not on Linux
        return False
    if found:
        os.environ[VARIABLE] = "1"
    return found
