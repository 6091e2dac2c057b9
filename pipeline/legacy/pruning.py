"""Magnitude pruning with tfmot: kernels get the zeros, and training between makes up for them."""

from collections.abc import Callable

import keras
import tensorflow_model_optimization as tfmot
import tf_keras

from pipeline.legacy import bridge

PRUNABLE = ("Conv2D", "Dense")
EVERY = 10  # steps between two updates of the zeros
Fit = Callable[[tf_keras.Model, list[tf_keras.callbacks.Callback]], None]


def prune(model: keras.Model, sparsity: float, steps: int, fit: Fit) -> None:
    """Prune `model` in place to `sparsity` over `steps` training steps.

    Every convolution and dense kernel ends with the same fraction of zeros; depthwise kernels,
    biases and normalization keep their weights (tfmot has no rule for them).

    Args:
        model: Trained functional Keras 3 model.
        sparsity: Fraction of zeros at the end, 0..1, reached along a cubic ramp (Zhu & Gupta
            2017, equation 1).
        steps: Training steps after which the zeros no longer change.
        fit: Trains the tf_keras model it is given, with the callbacks it is given.
    """
    every = min(EVERY, steps)
    schedule = tfmot.sparsity.keras.PolynomialDecay(
        initial_sparsity=0.0,
        final_sparsity=sparsity,
        begin_step=0,
        end_step=steps - steps % every,  # must be a step that updates, or the ramp ends early
        frequency=every,
    )

    def wrap(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        if type(layer).__name__ not in PRUNABLE:
            return layer
        return tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=schedule)

    pruned = tf_keras.models.clone_model(bridge.to_legacy(model), clone_function=wrap)
    fit(pruned, [tfmot.sparsity.keras.UpdatePruningStep()])
    bridge.to_keras(tfmot.sparsity.keras.strip_pruning(pruned), model)
