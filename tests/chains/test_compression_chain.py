"""Prune -> cluster -> quantize: what each step makes is still there in the `.tflite` file."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers
from support.chain import run, saved, trained

import search_spaces
from pipeline.artifact import Artifact
from pipeline.data.datasets import Dataset
from pipeline.graph import complexity
from pipeline.measure import ledger
from pipeline.tflite.classifier import Runner
from pipeline.tflite.read import Tensor, named_after, read
from search_spaces.base import Cheapest, build

pytestmark = pytest.mark.slow
SPARSITY, CLUSTERS = 0.5, 12
COMPRESSIBLE = ("Conv2D", "Dense")
NAMES = ("mobilenet", "resnet", "dense")


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


@pytest.fixture(scope="module", params=NAMES)
def chain(
    request: pytest.FixtureRequest, data: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Chain:
    """A network that is trained for seconds, pruned, clustered and quantized."""
    place = tmp_path_factory.mktemp(request.param)
    keras.utils.set_random_seed(0)
    model = trained(network(request.param, data.image_shape, data.num_classes), data, 4)
    found = {"float": saved(model, place)}
    found["prune"] = run(
        "prune", found["float"], data, place, sparsity=SPARSITY, allocation="uniform", epochs=2
    )
    found["cluster"] = run("cluster", found["prune"], data, place, clusters=CLUSTERS, epochs=1)
    found["quantize"] = run("quantize", found["cluster"], data, place, epochs=1)
    return Chain(found, data)


def network(name: str, shape: tuple[int, int, int], classes: int) -> keras.Model:
    """The cheapest one of a family; or, small, with what VGG and DenseNet have and others lack."""
    if name != "dense":
        return build(name, search_spaces.family(name).sample(Cheapest()), shape, classes)
    inputs = keras.Input(shape)
    x = layers.Conv2D(12, 5, 2, padding="same", name="stem")(layers.Rescaling(1 / 128, -1)(inputs))
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x))
    x = layers.Concatenate()([x, layers.Conv2D(12, 3, padding="same", name="new")(x)])
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x))  # no single convolution's
    x = layers.ReLU()(layers.Conv2D(16, 1, name="mixed")(layers.MaxPooling2D(4)(x)))
    x = layers.Flatten()(x)
    x = layers.Dense(24, activation="relu", name="hidden")(x)
    return keras.Model(inputs, layers.Softmax()(layers.Dense(classes, name="logits")(x)))


def stored_kernels(chain: Chain) -> dict[str, Tensor]:
    """Kernels of the file by the layer that they were made of."""
    names = chain.kernels("float")
    found = {}
    for op in read(chain.tflite).operators:
        if op.kernel is not None:
            own = named_after(op.kernel.name, names) or named_after(op.outputs[0].name, names)
            found.update({own[0]: op.kernel} if own else {})
    assert set(found) == set(names)
    return found


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
    kernels = chain.kernels("cluster")
    stored = {name: zeros(kernel.data) for name, kernel in stored_kernels(chain).items()}
    lost = {name: stored[name] for name, k in kernels.items() if stored[name] < zeros(k)}
    assert not lost


def test_every_kernel_has_no_more_int8_values_than_clusters_in_the_file(chain: Chain) -> None:
    stored = stored_kernels(chain)
    distinct = {name: len(np.unique(stored[name].data)) for name in chain.kernels("cluster")}
    assert max(distinct.values()) <= CLUSTERS


def test_every_kernel_is_int8_in_the_file(chain: Chain) -> None:
    graph = read(chain.tflite)
    assert {kernel.dtype for kernel in graph.kernels} == {"INT8"}
    own = [*chain.kernels("float"), *depthwise(chain.model("float"))]
    # a normalization of images that no convolution makes is a depthwise convolution of one pixel
    pixels = [kernel for kernel in graph.kernels if kernel.shape[:3] == (1, 1, 1)]
    pixels = [kernel for kernel in pixels if set(np.abs(kernel.data).reshape(-1)) == {127}]
    assert len(graph.kernels) == len(own) + len(pixels)


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


def test_nothing_is_left_unquantized(chain: Chain) -> None:
    assert {row["treatment"] for row in chain.rows("quantize").values()} == {"quantized"}


def test_the_file_classifies_as_the_simulation_of_it_does(chain: Chain) -> None:
    split = chain.data.test
    scores = Runner(chain.tflite).scores(split.images[split.index])
    # a network that says one class for all agrees with any other
    assert len(set(np.argmax(scores, axis=-1))) > 5
    parity = chain.artifacts["quantize"].details.parity
    assert parity["compared_with"] == "simulation"
    assert parity["agreement"] >= 0.99
    assert parity["worst_difference"] <= 0.02


def test_a_clustered_network_is_only_trained(chain: Chain) -> None:
    details = chain.artifacts["quantize"].details
    assert details.method == "qat"
    assert "clustering" in details.refused["ptq"]


def test_a_slimmed_network_is_compressed_like_any_other(data: Dataset, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = network("resnet", data.image_shape, data.num_classes)
    found = [saved(model, tmp_path)]
    for stage_name, settings in (
        ("slim", {"keep": 0.6, "epochs": 1}),
        ("prune", {"sparsity": SPARSITY, "epochs": 1, "schedule": "constant"}),
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
