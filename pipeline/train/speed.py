"""How fast this machine trains, measured in a second: the basis of the estimate of a run."""

import functools
import statistics
import time

import numpy as np

BATCH, SIDE, WIDTH = 32, 32, 16  # images, pixels per side, channels of the first activation
SECONDS = 0.6  # of measuring
BACKWARD = 3.0  # FLOPs of training an image, per FLOP of its forward pass
PLAIN = 5.0  # times what is measured, of a network of plain convolutions alone
COMPILED = 2.0  # how many times faster a compiled step of Keras is; compiling takes too long here


@functools.cache  # a second for every run of a process would be felt
def flops_per_second() -> float:
    """FLOPs of the forward pass that one second of training gets through.

    Measured on a small network of a dense, a depthwise and a pointwise convolution, forwards and
    backwards, on the device that TensorFlow uses; about the mix of what is searched for phones.
    """
    import tensorflow as tf

    rng = np.random.default_rng(0)
    images = tf.constant(rng.random((BATCH, SIDE, SIDE, WIDTH)), tf.float32)
    shapes = ((3, 3, WIDTH, WIDTH), (3, 3, WIDTH, 1), (1, 1, WIDTH, 4 * WIDTH))
    kernels = [tf.Variable(rng.random(shape), dtype=tf.float32) for shape in shapes]
    dense, depthwise, pointwise = kernels

    def step() -> None:
        with tf.GradientTape() as tape:
            x = tf.nn.relu6(tf.nn.conv2d(images, dense, 1, "SAME"))
            x = tf.nn.relu6(tf.nn.depthwise_conv2d(x, depthwise, (1, 1, 1, 1), "SAME"))
            x = tf.reduce_mean(tf.nn.conv2d(x, pointwise, 1, "SAME"))
        for gradient in tape.gradient(x, kernels):
            gradient.numpy()

    step()
    times: list[float] = []
    began = time.monotonic()
    while len(times) < 3 or time.monotonic() - began < SECONDS:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    macs = BATCH * SIDE**2 * (9 * WIDTH**2 + 9 * WIDTH + 4 * WIDTH**2)
    return COMPILED * 2 * macs / statistics.median(times)
