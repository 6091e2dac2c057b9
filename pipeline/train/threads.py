"""Threads and graphics cards of TensorFlow."""

import tensorflow as tf


def limit(count: int) -> None:
    """Let TensorFlow compute with so many threads; only before it has computed anything."""
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)


def has_gpu() -> bool:
    """Whether TensorFlow computes on a graphics card, which several processes cannot share."""
    return bool(tf.config.list_physical_devices("GPU"))
