"""What a person writes without any search: ResNet-8, or a fine-tuned EfficientNet-Lite0.

    python benchmarks/rivals/by_hand.py JOB.json RESULT.json

JOB.json has `method` ("resnet8" or "lite0"), `data` (fields of `DataConfig`), `seconds` and `seed`.
It trains on the train and val parts together, since nothing is chosen on val, for as many epochs as
fit in the time by the speed of its first steps, and writes `test_error`, `macs`, `epochs` and
`seconds`.

Source: ResNet-8 of MLPerf Tiny, https://github.com/mlcommons/tiny; one triangular learning rate as
in https://github.com/davidcpage/cifar10-fast; EfficientNet-Lite0 as in https://keras.io/guides/transfer_learning/.
"""

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from pipeline.data.datasets import DataConfig, Dataset, load
from pipeline.graph import complexity
from pipeline.pretrained import efficientnet_lite
from search_spaces import base

DECAY = 2.5e-4  # on kernels, as half the sum of squares
TIMED = 30  # steps that tell the speed
RESERVE = 0.97  # share of the time that epochs may take
RATES = {"resnet8": 0.3, "lite0": 0.02}  # the highest, of batches of 128
BATCH = {"resnet8": 128, "lite0": 32}


def resnet8(shape: tuple[int, int, int], classes: int) -> keras.Model:
    """16, 32 and 64 channels, a block of two convolutions each."""

    def conv(x: Any, filters: int, kernel: int, stride: int) -> Any:
        decay = keras.regularizers.L2(DECAY / 2)
        options = {"padding": "same", "use_bias": False, "kernel_regularizer": decay}
        x = layers.Conv2D(filters, kernel, stride, kernel_initializer="he_normal", **options)(x)
        return layers.BatchNormalization(momentum=0.9)(x)

    inputs = keras.Input(shape)
    x = layers.ReLU()(conv(layers.Rescaling(1 / 64, -2)(inputs), 16, 3, 1))
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        y = conv(layers.ReLU()(conv(x, filters, 3, stride)), filters, 3, 1)
        x = layers.ReLU()(y + (conv(x, filters, 1, stride) if stride > 1 else x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(x))


def lite0(shape: tuple[int, int, int], classes: int) -> keras.Model:
    """The ImageNet network with a new last layer, for images of any size."""
    trained = efficientnet_lite.load()
    arch = efficientnet_lite.published.find(efficientnet_lite.NETWORK)[1].arch
    model = base.build("efficientnet_lite", arch, shape, classes)
    model.get_layer("rescaling").offset = efficientnet_lite.OFFSET
    for layer in model.layers:
        if layer.weights and layer.name != "logits":
            layer.set_weights(trained.get_layer(layer.name).get_weights())
    return model


def main() -> None:
    """Train within the time, and test."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    began = time.monotonic()
    keras.utils.set_random_seed(job["seed"])
    dataset = load(DataConfig(**job["data"]), job["data_seed"])
    model = {"resnet8": resnet8, "lite0": lite0}[job["method"]](
        dataset.image_shape, dataset.num_classes
    )
    found = {"macs": complexity.profile(model).macs}
    found |= trained(model, dataset, job, began)
    test = dataset.test.arrays()
    scores = model.predict(test[0].astype("float32"), batch_size=256, verbose=0)
    found["test_error"] = float(np.mean(scores.argmax(axis=1) != test[1]))
    Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")


def trained(
    model: keras.Model, dataset: Dataset, job: dict[str, Any], began: float
) -> dict[str, Any]:
    """Train one triangle of the learning rate over the time that is left."""
    parts = [part.arrays() for part in (dataset.train, dataset.val)]
    images, labels = (np.concatenate(both) for both in zip(*parts, strict=True))
    peak, batch = RATES[job["method"]], BATCH[job["method"]]
    steps = len(labels) // batch
    _compile(model, peak)
    data = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(labels)).repeat()
    data = data.batch(batch).map(moved).prefetch(2)
    kept = model.get_weights()
    warm = iter(data)
    model.train_on_batch(*next(warm))
    start = time.monotonic()
    for _ in range(TIMED):
        model.train_on_batch(*next(warm))
    each = (time.monotonic() - start) / TIMED
    model.set_weights(kept)
    _compile(model, peak)
    left = RESERVE * (job["seconds"] - (time.monotonic() - began))
    total = max(1, int(left / each))

    class Triangle(keras.callbacks.Callback):
        at = 0

        def on_train_batch_begin(self, _: int, logs: Any = None) -> None:
            done = self.at / total
            self.model.optimizer.learning_rate = peak * min(done / 0.2, (1 - done) / 0.8)
            self.at += 1
            if time.monotonic() - began > job["seconds"]:
                self.model.stop_training = True

    model.fit(data, steps_per_epoch=total, epochs=1, verbose=0, callbacks=[Triangle()])
    return {"epochs": round(total / steps, 2), "seconds": round(time.monotonic() - began, 1)}


def _compile(model: keras.Model, peak: float) -> None:
    model.compile(
        keras.optimizers.SGD(peak, momentum=0.9, nesterov=True),
        "sparse_categorical_crossentropy",
        jit_compile=False,
    )


def moved(images: Any, labels: Any) -> Any:
    """Mirror half of the images, and shift all by up to an eighth of their side."""
    margin = math.ceil(images.shape[1] / 8)
    images = tf.image.random_flip_left_right(tf.cast(images, tf.float32))
    padded = tf.pad(images, [[0, 0], [margin, margin], [margin, margin], [0, 0]], "REFLECT")
    count, (height, width, channels) = tf.shape(images)[0], images.shape[1:]
    down, across = (tf.random.uniform([count], 0, 2 * margin + 1, tf.int32) for _ in range(2))

    def cut(one: Any) -> Any:
        return tf.slice(one[0], [one[1], one[2], 0], [height, width, channels])

    moved = tf.map_fn(cut, (padded, down, across), fn_output_signature=tf.float32)
    return tf.ensure_shape(moved, [None, height, width, channels]), labels


if __name__ == "__main__":
    main()
