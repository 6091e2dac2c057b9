"""How many cores and threads there are for training."""

import os

import tensorflow as tf


def limit(count: int) -> None:
    """Let TensorFlow compute with so many threads; only before it has computed anything."""
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def has_gpu() -> bool:
    """Whether TensorFlow computes on a graphics card, which several processes cannot share."""
    return bool(tf.config.list_physical_devices("GPU"))
