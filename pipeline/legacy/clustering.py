"""Weight clustering with tfmot: a kernel keeps a handful of distinct values, trained together."""

from collections.abc import Callable

import keras
import tensorflow_model_optimization as tfmot
import tf_keras
from tensorflow_model_optimization.python.core.clustering.keras.experimental import cluster

from pipeline.legacy import bridge

CLUSTERABLE = ("Conv2D", "Dense")
Fit = Callable[[tf_keras.Model, list[tf_keras.callbacks.Callback]], None]
CENTROIDS = {
    "density": "DENSITY_BASED",
    "kmeans++": "KMEANS_PLUS_PLUS",
    "linear": "LINEAR",
    "random": "RANDOM",
}


def cluster_weights(model: keras.Model, clusters: int, centroids: str, fit: Fit) -> None:
    """Cluster the convolution and dense kernels of `model` in place; zeros stay zeros.

    tfmot's public `cluster_weights` moves every zero that pruning made; only the experimental
    one takes `preserve_sparsity`.

    Args:
        model: Trained functional Keras 3 model.
        clusters: Most distinct values per kernel, zero among them; at least 3.
        centroids: How the centroids start, one of `CENTROIDS`.
        fit: Trains the tf_keras model it is given, with the callbacks it is given.
    """
    init = tfmot.clustering.keras.CentroidInitialization[CENTROIDS[centroids]]

    def wrap(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        if type(layer).__name__ not in CLUSTERABLE:
            return layer
        return cluster.cluster_weights(
            layer,
            number_of_clusters=clusters,
            cluster_centroids_init=init,
            preserve_sparsity=True,
        )

    clustered = tf_keras.models.clone_model(bridge.to_legacy(model), clone_function=wrap)
    fit(clustered, [])
    bridge.to_keras(tfmot.clustering.keras.strip_clustering(clustered), model)
