"""The file for the Edge TPU: int8 throughout, of the same classes, or left out with the reason."""

from pathlib import Path

import numpy as np
import pytest
from support.exported import Export, content, context, network, run
from support.exported import again as again
from support.exported import data as data
from support.exported import exported as exported
from support.exported import place as place
from support.exported import quantized as quantized

from pipeline.artifact import Artifact
from pipeline.data.datasets import Dataset
from pipeline.export import bundle
from pipeline.tflite.classifier import Runner
from pipeline.tflite.read import read


@pytest.mark.slow
def test_the_edge_tpu_gets_int8_and_one_scale_for_a_dense_layer(exported: Artifact) -> None:
    graph = read(content(exported, bundle.EDGETPU))
    assert [t.dtype for t in (*graph.inputs, *graph.outputs)] == ["INT8", "INT8"]
    assert graph.float_operators == ()
    scales = {op.name: op.kernel.scales.size for op in graph.operators if op.kernel is not None}
    assert scales == {"CONV_2D": 3, "FULLY_CONNECTED": 1}
    assert "min_runtime_version" in graph.metadata


def test_the_edge_tpu_names_the_same_classes(exported: Artifact, data: Dataset) -> None:
    images = data.val.images[data.val.index]
    one, other = (
        np.argmax(Runner(content(exported, name)).scores(images), axis=-1)
        for name in (bundle.MODEL, bundle.EDGETPU)
    )
    assert exported.details.edgetpu == {
        "images": 36,
        "agreement": np.mean(one == other),
        "method": "ptq",
    }
    assert exported.details.edgetpu["agreement"] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("clusters", [False, True], ids=["plain", "clustered"])
def test_after_training_in_int8_the_edge_tpu_names_exactly_the_same_classes(
    place: Path, data: Dataset, again: Export, clusters: bool
) -> None:
    model = network()
    if clusters:  # one range for the whole kernel, written as one per channel
        for layer in ("left", "right", "logits"):
            kernel = model.get_layer(layer).kernel
            kernel.assign(np.round(np.array(kernel) * 3) / 3)
    ctx = context(place, "05-finetune", data)
    source = ctx.save_keras(model, Artifact(stage="data", fingerprint="", directory=place))
    source.save()
    ctx = context(place, "06-quantize", data)
    trained = run("quantize", source, ctx, method="qat", epochs=1)
    made = again(trained)
    assert made.details.edgetpu == {"images": 36, "agreement": 1.0, "method": "qat"}
    graph = read(content(made, bundle.EDGETPU))
    dense = [op.kernel.scales.size for op in graph.operators if op.name == "FULLY_CONNECTED"]
    assert dense == [1]


def test_an_edge_tpu_file_of_other_train_images_is_left_out_with_the_reason(
    again: Export, quantized: Artifact
) -> None:
    made = again(quantized.telling(calibration_sha256="0"))
    assert bundle.EDGETPU not in made.deliverables
    assert "not those that ranges were measured with" in made.details.left_out[bundle.EDGETPU]
    assert "`model_edgetpu.tflite` was left out: the train" in content(made, bundle.CARD).decode()


def test_an_edge_tpu_file_of_other_numbers_than_int8_is_left_out(
    again: Export, quantized: Artifact
) -> None:
    made = again(quantized.telling(precision="int4"))
    assert made.details.left_out == {
        bundle.EDGETPU: "the Edge TPU takes int8. Received: quantize.precision=int4"
    }
