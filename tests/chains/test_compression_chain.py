"""Prune -> cluster -> quantize: what each step makes is still there in the `.tflite` file."""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tf_keras
from ai_edge_litert.interpreter import Interpreter
from keras import layers
from support.chain import run, saved, trained

import search_spaces
from pipeline.artifact import Artifact
from pipeline.compress import clustering
from pipeline.data.datasets import Dataset, Split
from pipeline.errors import ModelError
from pipeline.graph import complexity
from pipeline.measure import ledger, metrics
from pipeline.quantization.tfmot import affine, bridge, quantization
from pipeline.tflite import convert
from pipeline.tflite.classifier import Runner
from pipeline.tflite.read import Graph, Tensor, read
from search_spaces.base import Cheapest, build

SPARSITY, CLUSTERS = 0.5, 12
COMPRESSIBLE = ("Conv2D", "Dense")
PIXEL = "as a depthwise convolution of one pixel"
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("vgg", "densenet")]


@dataclass(frozen=True)
class Chain:
    """One network on its way: the artifact that every stage left, and its data."""

    artifacts: dict[str, Artifact]
    data: Dataset

    def model(self, name: str) -> keras.Model:
        return loaded(self.artifacts[name].model_path)

    def kernels(self, name: str) -> dict[str, np.ndarray]:
        """Kernels of convolutions and dense layers, by layer."""
        return {
            layer.name: np.asarray(layer.kernel)
            for layer in self.model(name).layers
            if type(layer).__name__ in COMPRESSIBLE
        }

    @property
    def tflite(self) -> bytes:
        return self.artifacts["quantize"].model_path.read_bytes()

    def rows(self, name: str) -> dict[str, dict[str, Any]]:
        """What the stage says that it did to each layer."""
        return {row["layer"]: row for row in self.artifacts[name].details.layers}


@functools.cache
def loaded(path: Path) -> keras.Model:
    return keras.models.load_model(path, compile=False)


def some(split: Split, count: int) -> Split:
    return Split(split.images, split.labels[:count], split.index[:count])


@pytest.fixture(scope="module")
def data(digits: Dataset) -> Dataset:
    parts = {"train": some(digits.train, 256), "val": some(digits.val, 64)}
    test = some(digits.test, 200)
    return Dataset("some", digits.class_names, **parts, test=test, fingerprint="some")


@pytest.fixture(scope="module", params=["mobilenet", "resnet", *SLOW])
def chain(
    request: pytest.FixtureRequest, data: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Chain:
    """The cheapest network of a family, trained for seconds, pruned, clustered and quantized."""
    place = tmp_path_factory.mktemp(request.param)
    keras.utils.set_random_seed(0)
    arch = search_spaces.family(request.param).sample(Cheapest())
    model = trained(build(request.param, arch, data.image_shape, data.num_classes), data, 4)
    found = {"float": saved(model, place)}
    found["prune"] = run(
        "prune", found["float"], data, place, sparsity=SPARSITY, allocation="uniform", epochs=2
    )
    found["cluster"] = run("cluster", found["prune"], data, place, clusters=CLUSTERS, epochs=1)
    found["quantize"] = run("quantize", found["cluster"], data, place, epochs=1)
    return Chain(found, data)


@dataclass(frozen=True)
class Quantized:
    """What quantization made of a network."""

    content: bytes
    difference: float  # largest one of the scores of LiteRT and of the simulation

    @property
    def graph(self) -> Graph:
        return read(self.content)


def quantized(body: Callable[[Any], Any], place: Path, **settings: Any) -> Quantized:
    """Quantize a network whose inside is given; it ends in pooling, a dense layer and softmax."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12, 12, 3))
    x = body(layers.Rescaling(1 / 128, -1.0)(inputs))
    x = layers.GlobalAveragePooling2D()(x) if len(x.shape) == 4 else x
    x = layers.Dense(2, name="logits")(x)
    return quantized_model(keras.Model(inputs, layers.Softmax()(x)), place, **settings)


def quantized_model(
    model: keras.Model,
    place: Path,
    calibrate: bool = False,
    pixels: tuple[int, int] = (0, 256),
    learning_rate: float = 0.01,
) -> Quantized:
    """Quantize a network as the stage does, but train for two steps, on noise."""
    images = np.random.default_rng(0).integers(*pixels, (32, *model.input_shape[1:]))
    scaled = bridge.rescaled(model, images.astype(np.float32))

    def fit(twin: Any) -> None:
        sgd = tf_keras.optimizers.SGD(learning_rate)
        twin.compile(sgd, "sparse_categorical_crossentropy", jit_compile=False)
        for _ in range(2):
            twin.train_on_batch(scaled, np.arange(32) % 2)

    twin, _ = quantization.quantize_aware(model, fit, images)
    quantization.save(twin, place)
    content = convert.convert_int8(place, scaled if calibrate else None)
    difference = Runner(content).scores(images) - twin(scaled, training=False)
    return Quantized(content, float(np.max(np.abs(difference))))


def simulated(artifact: Artifact, images: np.ndarray) -> np.ndarray:
    """Scores of the tf_keras model that simulates int8, as it was saved for the converter."""
    import tensorflow as tf

    model = tf.saved_model.load(str(artifact.directory / "saved_model"))
    serve = model.signatures["serving_default"]
    scaled = images.astype(np.float32) / 128 - 1
    return np.concatenate([serve(tf.constant(image[None]))["scores"] for image in scaled])


def by_layer(graph: Graph) -> dict[str, Tensor]:
    """Kernels of the file by the layer that they were converted from."""
    found = [(re.search(r"/quant_(\w+)/", kernel.name), kernel) for kernel in graph.kernels]
    named = {match[1]: kernel for match, kernel in found if match}
    assert len(named) == len(graph.kernels), "a kernel of no layer, or two of one"
    return named


def zeros(kernel: np.ndarray) -> float:
    return float(np.mean(kernel == 0))


# prune


def test_every_kernel_is_pruned_to_the_target(chain: Chain) -> None:
    kernels = chain.kernels("prune")
    del kernels[first(chain)]
    missed = {name: zeros(k) for name, k in kernels.items() if off_target(k)}
    assert kernels
    assert not missed


def first(chain: Chain) -> str:
    """The convolution of the image, which is not pruned."""
    return next(iter(chain.kernels("float")))


def off_target(kernel: np.ndarray) -> bool:
    return abs(np.sum(kernel == 0) - SPARSITY * kernel.size) > 1


def test_pruning_goes_on_training_what_is_left(chain: Chain) -> None:
    before, after = chain.kernels("float"), chain.kernels("prune")
    for name, kernel in after.items():
        assert np.any(kernel[kernel != 0] != before[name][kernel != 0]), name


def test_depthwise_kernels_stay_dense(chain: Chain) -> None:
    for name in ("prune", "cluster"):
        for layer in depthwise(chain.model(name)):
            assert np.all(np.asarray(layer.kernel) != 0), layer.name


def depthwise(model: keras.Model) -> list[Any]:
    return [layer for layer in model.layers if isinstance(layer, layers.DepthwiseConv2D)]


@pytest.mark.parametrize(("name", "treatment"), [("prune", "pruned"), ("cluster", "clustered")])
def test_every_kernel_is_listed_as_treated_or_as_skipped_with_the_reason(
    chain: Chain, name: str, treatment: str
) -> None:
    skipped = {layer.name for layer in depthwise(chain.model("float"))}
    skipped |= {first(chain)} if name == "prune" else set()
    expected = dict.fromkeys(chain.kernels("float"), (treatment, False))
    expected |= dict.fromkeys(skipped, ("skipped", True))
    rows = chain.rows(name)
    assert {n: (row["treatment"], bool(row["reason"])) for n, row in rows.items()} == expected


def test_the_rows_say_what_the_kernels_hold(chain: Chain) -> None:
    rows = chain.rows("cluster")
    for name, kernel in chain.kernels("cluster").items():
        assert rows[name]["sparsity"] == pytest.approx(zeros(kernel))
        assert rows[name]["distinct"] == len(np.unique(kernel))


# cluster


def test_clustering_keeps_every_zero_where_it_was(chain: Chain) -> None:
    before, after = chain.kernels("prune"), chain.kernels("cluster")
    moved = [name for name in before if not np.array_equal(before[name] == 0, after[name] == 0)]
    assert not moved


def test_every_kernel_has_no_more_values_than_clusters(chain: Chain) -> None:
    distinct = {name: len(np.unique(k)) for name, k in chain.kernels("cluster").items()}
    assert max(distinct.values()) <= CLUSTERS
    assert min(distinct.values()) > 2  # or it would be a network of zeros


# quantize, read back from the file


def test_every_kernel_keeps_its_zeros_in_the_file(chain: Chain) -> None:
    kernels, graph = chain.kernels("cluster"), read(chain.tflite)
    stored = {name: zeros(kernel.data) for name, kernel in by_layer(graph).items()}
    lost = {name: stored[name] for name, k in kernels.items() if stored[name] < zeros(k)}
    assert not lost


def test_every_kernel_has_no_more_int8_values_than_clusters_in_the_file(chain: Chain) -> None:
    stored = by_layer(read(chain.tflite))
    distinct = {name: len(np.unique(stored[name].data)) for name in chain.kernels("cluster")}
    assert max(distinct.values()) <= CLUSTERS


def test_every_kernel_is_int8_in_the_file(chain: Chain) -> None:
    graph = read(chain.tflite)
    assert {kernel.dtype for kernel in graph.kernels} == {"INT8"}
    pixels = [row for row in chain.rows("quantize").values() if row["reason"] == PIXEL]
    own = [*chain.kernels("float"), *depthwise(chain.model("float")), *pixels]
    assert len(graph.kernels) == len(own)


def test_no_operator_of_the_file_computes_in_floating_point(chain: Chain) -> None:
    assert read(chain.tflite).float_operators == ()


def test_the_file_takes_raw_pixels_and_gives_uint8(chain: Chain) -> None:
    graph = read(chain.tflite)
    (taken,), (given,) = graph.inputs, graph.outputs
    assert (taken.dtype, given.dtype) == ("UINT8", "UINT8")
    assert taken.scales.tolist() == pytest.approx([1 / 128], rel=1e-6)
    assert taken.zero_points.tolist() == [128]


def test_the_file_has_a_static_batch_of_one(chain: Chain) -> None:
    interpreter = Interpreter(model_content=chain.tflite)
    ends = [*interpreter.get_input_details(), *interpreter.get_output_details()]
    shapes = [end[key].tolist() for end in ends for key in ("shape", "shape_signature")]
    assert shapes == [[1, *chain.data.image_shape]] * 2 + [[1, chain.data.num_classes]] * 2


def test_every_layer_with_weights_is_listed_as_quantized(chain: Chain) -> None:
    rows = chain.rows("quantize")
    weighted = [layer.name for layer in chain.model("float").layers if layer.weights]
    assert {rows[name]["treatment"] for name in weighted} == {"quantized"}


def test_what_is_left_unquantized_is_listed_with_the_reason(chain: Chain) -> None:
    skipped = [row for row in chain.rows("quantize").values() if row["treatment"] == "skipped"]
    assert skipped
    assert all(row["reason"] for row in skipped)


def test_the_file_classifies_as_the_simulation_of_it_does(chain: Chain) -> None:
    split = chain.data.test
    images = split.images[split.index]
    scores = simulated(chain.artifacts["quantize"], images)
    received = np.argmax(Runner(chain.tflite).scores(images), axis=-1)
    # a network that says one class for all agrees with any other
    assert len(set(np.argmax(scores, axis=-1))) > 5
    # after so little training many scores are close
    lost = scores.max(axis=-1) - scores[np.arange(len(scores)), received]
    assert np.mean(lost > 0.05) <= 0.02


# the stage


def small(body: Callable[[Any], Any], data: Dataset, place: Path) -> Artifact:
    """A tiny untrained classifier with something inside."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(data.image_shape)
    x = body(layers.Conv2D(4, 3, 2)(layers.Rescaling(1 / 128, -1.0)(inputs)))
    x = layers.Dense(data.num_classes, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    return saved(keras.Model(inputs, x), place)


def test_the_method_that_does_better_on_validation_is_kept(data: Dataset, tmp_path: Path) -> None:
    source = small(layers.ReLU(), data, tmp_path)
    made = run("quantize", source, data, tmp_path, epochs=1, calibration_images=20)
    accuracy = made.details.val_accuracy
    assert set(accuracy) == {"ptq", "qat"}
    assert accuracy[made.details.method] == max(accuracy.values())
    runner = Runner(made.model_path.read_bytes())
    assert metrics.tflite_hits(runner, data.val).mean() == max(accuracy.values())
    assert re.fullmatch("[0-9a-f]{64}", made.details.calibration_sha256)
    assert made.details.calibration_images == 20
    left = {path.name for path in made.directory.iterdir() if path.is_dir()}
    assert left == {"saved_model"}


def test_a_clustered_network_is_only_trained(chain: Chain) -> None:
    details = chain.artifacts["quantize"].details
    assert details.method == "qat"
    assert "clustering" in details.refused["ptq"]


def test_a_network_that_cannot_be_trained_as_int8_is_quantized_after_training(
    data: Dataset, tmp_path: Path
) -> None:
    source = small(lambda x: keras.ops.maximum(x, 0.0), data, tmp_path)
    made = run("quantize", source, data, tmp_path, calibration_images=20)
    assert made.details.method == "ptq"
    assert "Maximum" in made.details.refused["qat"]
    assert {row["treatment"] for row in made.details.layers} == {"quantized"}
    again = tmp_path / "again"
    again.mkdir()
    with pytest.raises(ModelError, match="Maximum"):
        run("quantize", source, data, again, method="qat")


# networks unlike those of the chain


def conv(x: Any, filters: int = 8, **settings: Any) -> Any:
    return layers.Conv2D(filters, 3, padding="same", **settings)(x)


def norm(x: Any) -> Any:
    return layers.BatchNormalization()(x)


def dense_block(x: Any) -> Any:
    """DenseNet: normalization and ReLU of what was concatenated, before the convolution."""
    x = layers.ReLU()(norm(conv(x)))
    new = conv(layers.ReLU()(norm(x)))
    return conv(layers.ReLU()(norm(layers.Concatenate()([x, new]))))


def preactivated(x: Any) -> Any:
    """ResNet V2: normalization after a sum."""
    x = conv(x)
    x = layers.Add()([x, conv(layers.ReLU()(norm(x)))])
    return layers.ReLU()(norm(x))


def squeezed(x: Any) -> Any:
    """Squeeze and excite: the channels are weighted."""
    x = layers.ReLU()(norm(conv(x)))
    weight = layers.GlobalAveragePooling2D(keepdims=True)(x)
    weight = layers.Dense(8, activation="sigmoid")(layers.Dense(4, activation="relu")(weight))
    return layers.Multiply()([x, weight])


def inverted(x: Any) -> Any:
    x = layers.ReLU(6.0)(norm(conv(x)))
    x = layers.ReLU(6.0)(norm(layers.DepthwiseConv2D(3, padding="same")(x)))
    return norm(conv(x))


def activations(x: Any) -> Any:
    """Every activation, fused or not, with and without normalization."""
    x = layers.ReLU(6.0)(conv(x))
    x = layers.Activation("relu6")(conv(x))
    x = conv(conv(conv(x, activation="relu6"), activation="relu"), activation="sigmoid")
    x = layers.LeakyReLU(0.1)(norm(conv(x)))
    return layers.ReLU(negative_slope=0.1)(layers.ReLU(negative_slope=0.1)(conv(x)))


def linear(x: Any) -> Any:
    """Convolutions and a sum without activation, read by a convolution that has one."""
    x = conv(conv(x), activation="relu")
    return conv(layers.Add()([x, conv(x)]), activation="relu")


def branches(x: Any) -> Any:
    """A normalized convolution that is read twice, poolings, a grouped convolution."""
    x = norm(conv(x))
    x = layers.Add()([layers.ReLU()(x), x])
    x = layers.MaxPooling2D(2)(layers.AveragePooling2D(2)(x))
    return layers.Concatenate()([x, layers.ReLU()(norm(conv(x, groups=2)))])


def dense_normalized(x: Any) -> Any:
    """Normalization after dense layers, before and after the activation, and of the input."""
    x = layers.Flatten()(conv(norm(x)))
    return norm(layers.ReLU()(norm(layers.Dense(8)(x))))


def hard(x: Any) -> Any:
    """MobileNetV3: hard-swish, squeeze and excite with a gate made of operations."""
    x = layers.Activation("hard_swish")(norm(conv(x)))
    gate = conv(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = x * (layers.ReLU(6.0)(gate + 3.0) * (1 / 6))
    return layers.Multiply()([x, layers.Activation("hard_sigmoid")(x)])


def rare(x: Any) -> Any:
    """Layers that few networks have, and activations that follow their layer."""
    x = layers.SeparableConv2D(8, 3, padding="same", activation="swish")(x)
    y = layers.UpSampling2D(2)(layers.MaxPooling2D(2)(layers.PReLU(shared_axes=[1, 2])(x)))
    x = layers.Subtract()(
        [layers.Minimum()([x, y]), layers.Cropping2D(1)(layers.ZeroPadding2D()(y))]
    )
    x = layers.ReLU()(norm(layers.Conv2DTranspose(8, 3, 2)(x)))
    return layers.GlobalMaxPooling2D()(layers.Rescaling([0.5] * 8, [0.1] * 8)(x))


def shared(x: Any) -> Any:
    layer = layers.Conv2D(8, 3, padding="same", activation="relu", name="shared")
    return layer(layer(conv(x)))


def separate_relu(x: Any) -> Any:
    return layers.ReLU()(conv(x))


def fused_relu(x: Any) -> Any:
    return conv(x, activation="relu6")


@pytest.mark.parametrize(
    ("body", "calibrate"),
    [
        (separate_relu, False),
        (activations, False),
        (linear, False),
        (branches, False),
        (inverted, False),
        (squeezed, False),
        (dense_block, False),
        (preactivated, False),
        (dense_normalized, False),
        (hard, False),
        (rare, False),
        (shared, False),
    ],
)
def test_a_network_becomes_int8_throughout(
    tmp_path: Path, body: Callable[[Any], Any], calibrate: bool
) -> None:
    made = quantized(body, tmp_path, calibrate=calibrate)
    assert made.graph.float_operators == ()
    assert {kernel.dtype for kernel in made.graph.kernels} == {"INT8"}
    assert made.difference <= 0.02


def test_every_pixel_fits_the_input_although_training_saw_only_grey(tmp_path: Path) -> None:
    (taken,) = quantized(separate_relu, tmp_path, pixels=(100, 150)).graph.inputs
    assert taken.scales.tolist() == pytest.approx([1 / 128], rel=1e-6)
    assert taken.zero_points.tolist() == [128]


@pytest.mark.parametrize("body", [fused_relu, inverted])
def test_a_kernel_without_structure_gets_a_scale_per_channel(
    tmp_path: Path, body: Callable[[Any], Any]
) -> None:
    kernels = quantized(body, tmp_path).graph.kernels[:-1]  # the last one is of a dense layer
    assert [len(set(kernel.scales.tolist())) for kernel in kernels] == [8] * len(kernels)


def test_every_channel_of_a_depthwise_kernel_has_a_scale_of_its_own(tmp_path: Path) -> None:
    """tfmot has one for all, in which small channels round to nothing."""

    def small_channels(x: Any) -> Any:
        layer = layers.DepthwiseConv2D(3)
        x = layer(conv(x))
        sizes = np.logspace(-4, 0, 8)
        kernel = np.asarray(layer.kernel)
        layer.kernel.assign(kernel / np.max(np.abs(kernel), (0, 1), keepdims=True) * sizes[:, None])
        return norm(x)

    made = quantized(small_channels, tmp_path, learning_rate=0.0)
    (kernel,) = (op.kernel for op in made.graph.operators if op.name == "DEPTHWISE_CONV_2D")
    assert np.max(np.abs(kernel.data), axis=(0, 1, 2)).tolist() == [127] * 8
    assert made.difference <= 0.02


def test_a_normalization_after_a_dense_layer_leaves_its_clusters(tmp_path: Path) -> None:
    def clustered(x: Any) -> Any:
        layer = layers.Dense(8)
        x = layer(layers.Flatten()(x))
        step = np.max(np.abs(layer.kernel)) / 3
        layer.kernel.assign(step * np.round(layer.kernel / step))
        return layers.ReLU()(norm(x))

    made = quantized(clustered, tmp_path)
    kernels = [op.kernel for op in made.graph.operators if op.name == "FULLY_CONNECTED"]
    assert len(np.unique(kernels[0].data)) <= 7
    assert made.difference <= 0.02


def test_a_replaced_layer_that_computes_something_else_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(affine.ChannelAffine, "set_weights", lambda *_: None)
    with pytest.raises(ModelError, match="changed on its way"):
        quantized(layers.Rescaling([1.0, 2.0, 3.0]), tmp_path)


def test_the_rows_say_what_became_of_each_layer(tmp_path: Path) -> None:
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, name="conv")(layers.BatchNormalization(name="alone")(inputs))
    x = layers.AveragePooling2D(2, name="pool")(layers.BatchNormalization(name="folded")(x))
    outputs = layers.Dense(2, name="logits")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, layers.Softmax(name="scores")(outputs))
    _, rows = quantization.quantize_aware(model, lambda _: None, np.ones((4, 12, 12, 3)))
    said = {row["layer"]: (row["kind"], row["treatment"], row["reason"]) for row in rows}
    assert said["conv"] == ("Conv2D", "quantized", None)
    assert said["alone"][2] == "as a depthwise convolution of one pixel"
    assert said["folded"][2] == "part of the layer before it"
    assert said["pool"][2] == "the operator keeps the scale of its input"
    assert said["scores"] == ("Softmax", "skipped", "int8 softmax has a fixed output scale")


@pytest.mark.parametrize("name", ["mobilenet", "resnet"])
def test_a_family_without_normalization_becomes_int8_and_keeps_its_clusters(
    tmp_path: Path, name: str
) -> None:
    keras.utils.set_random_seed(0)
    arch = search_spaces.family(name).sample(Cheapest()).model_copy(update={"norm": "none"})
    model = build(name, arch, (16, 16, 1), 2)
    compressible = [layer for layer in model.layers if type(layer).__name__ in COMPRESSIBLE]
    for layer in compressible:
        step = np.max(np.abs(layer.kernel)) / 3
        layer.kernel.assign(step * np.round(layer.kernel / step))  # 7 values, 0 among them
    graph = quantized_model(model, tmp_path).graph
    assert graph.float_operators == ()
    stored = by_layer(graph)
    assert max(len(np.unique(stored[layer.name].data)) for layer in compressible) <= 7


def test_clusters_of_each_channel_are_as_few_int8_values_in_the_file(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    arch = search_spaces.family("mobilenet").sample(Cheapest())
    model = build("mobilenet", arch, (16, 16, 1), 2)
    found = clustering.cluster(model, clustering.Plan(6, 6, per="channel"))
    graph = quantized_model(model, tmp_path).graph
    assert graph.float_operators == ()
    stored = by_layer(graph)
    kernels = [stored[kernel.name] for kernel in found if not kernel.reason]
    assert max(len(np.unique(channel)) for kernel in kernels for channel in kernel.data) == 6
    convolved = [len(set(kernel.scales.tolist())) for kernel in kernels if kernel.data.ndim == 4]
    assert min(convolved) > 1  # a scale per channel, which costs less accuracy than one for all


def test_a_kernel_that_was_pruned_but_not_clustered_keeps_its_zeros(tmp_path: Path) -> None:
    def pruned(x: Any) -> Any:
        layer = layers.Conv2D(8, 3)
        x = layer(x)
        layer.kernel.assign(np.where(np.abs(layer.kernel) < 0.1, 0.0, layer.kernel))
        fractions.append(zeros(np.asarray(layer.kernel)))
        return norm(x)

    fractions: list[float] = []
    stored = quantized(pruned, tmp_path, learning_rate=1.0).graph.kernels[0]
    assert 0.2 < fractions[0] < 0.8
    assert zeros(stored.data) >= fractions[0]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(layers.Conv2D(4, 3, activation="elu", name="culprit"), id="fused elu"),
        pytest.param(layers.Activation("elu", name="culprit"), id="elu"),
        pytest.param(layers.ELU(name="culprit"), id="layer elu"),
        pytest.param(layers.ReLU(threshold=0.5, name="culprit"), id="threshold"),
        pytest.param(layers.ReLU(3.0, negative_slope=0.5, name="culprit"), id="slope and maximum"),
        pytest.param(layers.GroupNormalization(1, name="culprit"), id="group normalization"),
    ],
)
def test_a_layer_that_cannot_be_int8_is_an_error_that_names_it(
    tmp_path: Path, body: Callable[[Any], Any]
) -> None:
    with pytest.raises(ModelError, match="culprit"):
        quantized(body, tmp_path)


def test_ranges_of_activations_begin_as_those_of_the_float_network(tmp_path: Path) -> None:
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    x = layers.Dense(3, activation="tanh", name="squashed")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, layers.Dense(2, name="logits")(x))
    images = np.random.default_rng(0).integers(0, 256, (20, 12, 12, 3)).astype(np.float32)
    found: dict[str, Any] = {}

    def note(twin: Any) -> None:
        found.update({v.name.rpartition("/")[2]: float(v) for v in twin.weights if not v.shape})
        for layer in twin.layers:
            found.update({f"{layer.name}/{v.name}": v.numpy() for v in layer.weights})

    quantization.quantize_aware(model, note, images)

    def ends(name: str) -> list[float]:
        part = keras.Model(inputs, model.get_layer(name).output)
        halves = [np.asarray(part(half)) for half in (images[:10], images[10:])]
        return [float(np.mean([f(x) for x in halves])) for f in (np.min, np.max)]

    def noted(name: str, kind: str) -> list[float]:
        keys = [k for k in found if name in k and f"{kind}_activation_m" in k]
        return sorted(float(found[key]) for key in keys)

    assert noted("quant_conv", "post") == pytest.approx([0.0, ends("conv")[1]], rel=1e-4)
    squashed = model.get_layer("squashed")
    squashed.activation = keras.activations.linear
    assert noted("squashed", "pre") == pytest.approx(
        [min(0.0, ends("squashed")[0]), max(0.0, ends("squashed")[1])], rel=1e-3
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet", "mobilenet"])
def test_a_slimmed_network_is_compressed_like_any_other(
    name: str, data: Dataset, tmp_path: Path
) -> None:
    keras.utils.set_random_seed(0)
    arch = search_spaces.family(name).sample(Cheapest())
    model = trained(build(name, arch, data.image_shape, data.num_classes), data, 4)
    found = [saved(model, tmp_path)]
    for stage_name, settings in (
        ("slim", {"keep": 0.6, "epochs": 2}),
        ("prune", {"sparsity": SPARSITY, "epochs": 2}),
        ("cluster", {"clusters": CLUSTERS, "epochs": 1}),
        ("quantize", {"epochs": 1}),
    ):
        found.append(run(stage_name, found[-1], data, tmp_path, **settings))
    _, slim, prune, cluster, quantize = found
    assert (
        complexity.profile(loaded(slim.model_path)).flops <= 0.6 * complexity.profile(model).flops
    )
    graph = read(quantize.model_path.read_bytes())
    rows = ledger.named(ledger.of_tflite(graph), ledger.of_keras(loaded(cluster.model_path)))
    left = {row["layer"]: row for row in ledger.of_keras(loaded(prune.model_path))}
    for row in rows:
        if "conv" in row["kind"].lower() and row["kind"] != "DEPTHWISE_CONV_2D":
            assert row["sparsity"] >= left[row["layer"]]["sparsity"]
            assert row["distinct"] <= CLUSTERS
    assert graph.float_operators == ()
    assert {kernel.dtype for kernel in graph.kernels} == {"INT8"}
