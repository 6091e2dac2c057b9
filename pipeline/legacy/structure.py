"""What pruning and clustering made of a kernel, and constraints that keep it in training."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

MOST_CLUSTERS = 256  # a kernel with more distinct values is not clustered
FEWEST_ZEROS = 0.02  # a kernel with a smaller fraction of zeros is not pruned
Constraint = Callable[[tf.Tensor], tf.Tensor]


def of(kernel: np.ndarray) -> str | None:
    """What earlier stages left in a kernel: "clusters", "zeros" or nothing."""
    nonzero = kernel[kernel != 0]
    distinct = len(np.unique(nonzero))
    if distinct < min(MOST_CLUSTERS, len(nonzero)):  # values that were trained apart never repeat
        return "clusters"
    return "zeros" if np.mean(kernel == 0) >= FEWEST_ZEROS else None


def constraint(kernel: np.ndarray, kept: str) -> Constraint:
    """What is done to the kernel after every update."""
    return _keep_zeros(kernel) if kept == "zeros" else _keep_clusters(kernel)


def _keep_zeros(kernel: np.ndarray) -> Callable[[tf.Tensor], tf.Tensor]:
    mask = tf.constant((kernel != 0).astype(kernel.dtype))
    return lambda updated: updated * mask


def _keep_clusters(kernel: np.ndarray) -> Callable[[tf.Tensor], tf.Tensor]:
    """Give every weight the mean of its cluster: the same as sharing one trained centroid."""
    centroids, cluster = np.unique(kernel, return_inverse=True)
    cluster = tf.constant(cluster.reshape(-1), tf.int32)
    # a cluster of zeros stays at zero
    factor = (centroids != 0) / np.bincount(cluster, minlength=len(centroids))
    weight = tf.constant(factor, kernel.dtype)

    def constraint(updated: tf.Tensor) -> tf.Tensor:
        flat = tf.reshape(updated, [-1])
        means = tf.math.unsorted_segment_sum(flat, cluster, len(centroids)) * weight
        return tf.reshape(tf.gather(means, cluster), updated.shape)

    return constraint
