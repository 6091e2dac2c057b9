"""What every kernel holds after each stage; a stage that undoes an earlier one is an error."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from support.report_run import FLOAT, INT8, Page, artifact

from pipeline import recipe, runner
from pipeline.artifact import Artifact, load
from pipeline.data import datasets
from pipeline.data.datasets import Dataset
from pipeline.errors import ModelError
from pipeline.graph import structure
from pipeline.measure import ledger
from pipeline.report.page import render_html
from pipeline.stages import finetune, prune
from pipeline.tflite import convert
from pipeline.tflite.read import read

SHAPE = (8, 8, 3)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, name="conv")(inputs))
    x = layers.DepthwiseConv2D(3, name="depthwise")(layers.ReLU()(x))
    x = layers.Conv2D(4, 3, padding="same", name="conv_1")(layers.ReLU()(x))
    x = layers.Dense(3, use_bias=False, name="logits")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, layers.Softmax()(x))
    conv = model.get_layer("conv")
    # 108 weights, half of them zero, 3 distinct
    conv.kernel.assign(np.tile([0.0, 1.0, 0.0, -1.0], 27).reshape(3, 3, 3, 4))
    return model


@pytest.fixture(scope="module")
def int8(model: keras.Model) -> bytes:
    images = np.random.default_rng(0).integers(0, 256, (8, *SHAPE))
    return convert.ptq(model, images.astype(np.float32))


def row(layer: str = "conv", weights: int = 100, **changes: Any) -> dict[str, Any]:
    own = {"sparsity": 0.0, "distinct": weights, "dtypes": {"kernel": "float32"}}
    return {"layer": layer, "kind": "Conv2D", "weights": weights, **own, **changes}


def made(stage: str, *rows: dict[str, Any]) -> Artifact:
    return Artifact(
        stage=stage,
        fingerprint="1",
        directory=Path("nowhere"),
        model_file="model.keras",
        details={"ledger": list(rows)},
    )


# rows


def test_a_row_says_what_the_kernel_of_a_keras_layer_holds(model: keras.Model) -> None:
    first, *others = ledger.of_keras(model)
    assert first == {
        "layer": "conv",
        "kind": "Conv2D",
        "weights": 108,
        "sparsity": 0.5,
        "distinct": 3,
        "dtypes": {"kernel": "float32", "bias": "float32"},
    }
    assert [other["layer"] for other in others] == ["depthwise", "conv_1", "logits"]


def test_two_kernels_of_one_layer_have_a_row_each() -> None:
    inputs = keras.Input(SHAPE)
    model = keras.Model(inputs, layers.SeparableConv2D(4, 3, name="both")(inputs))
    names = {row["layer"] for row in ledger.of_keras(model)}
    assert names == {"both/pointwise_kernel", "both/depthwise_kernel"}


def test_a_kernel_that_is_used_twice_has_one_row() -> None:
    inputs = keras.Input(SHAPE)
    shared = layers.Conv2D(3, 3, padding="same")
    model = keras.Model(inputs, layers.Flatten()(shared(shared(inputs))))
    assert len(ledger.of_keras(model)) == 1


@pytest.mark.parametrize("convert", [convert.convert_float, None], ids=["float", "int8"])
def test_operators_have_the_names_of_keras_layers(
    model: keras.Model, int8: bytes, convert: Callable[[Any], bytes] | None
) -> None:
    content = convert(model) if convert else int8
    known = ledger.of_keras(model)
    rows = ledger.named(ledger.of_tflite(read(content)), known)
    assert [r["layer"] for r in rows] == [r["layer"] for r in known]
    assert [r["weights"] for r in rows] == [r["weights"] for r in known]


def test_a_row_of_a_file_says_how_every_constant_is_stored(model: keras.Model, int8: bytes) -> None:
    rows = ledger.named(ledger.of_tflite(read(int8)), ledger.of_keras(model))
    dtypes = {r["layer"]: r["dtypes"] for r in rows}
    assert dtypes["conv"] == dtypes["depthwise"] == {"kernel": "int8", "bias": "int32"}
    assert dtypes["logits"]["kernel"] == "int8"


def test_zeros_and_shared_values_are_seen_in_the_file(model: keras.Model, int8: bytes) -> None:
    first = ledger.named(ledger.of_tflite(read(int8)), ledger.of_keras(model))[0]
    assert (first["sparsity"], first["distinct"]) == (0.5, 3)


def test_operators_without_a_known_name_go_by_order_and_size() -> None:
    known = [row("one", 9), row("two", 25), row("three", 9)]
    rows = [row(name, size, also="") for name, size in (("a", 9), ("b", 9), ("c", 25), ("d", 9))]
    assert [r["layer"] for r in ledger.named(rows, known)] == ["one", "three", "two", "d"]


def test_a_name_counts_more_than_the_order() -> None:
    known = [row("one", 9), row("two", 9)]
    rows = [row("net/quant_two/Conv2D", 9, also=""), row("x", 9, also="")]
    assert [r["layer"] for r in ledger.named(rows, known)] == ["two", "one"]


def test_a_second_kernel_of_a_layer_is_not_taken_for_another_one() -> None:
    known = [row("shared", 9), row("other", 9)]
    names = ("net/quant_shared/MatMul", "net/quant_shared_2/MatMul", "x")
    rows = [row(name, 9, also="") for name in names]
    assert [r["layer"] for r in ledger.named(rows, known)] == ["shared", "shared", "other"]


# the report


def test_the_report_shows_the_kernels_of_the_last_file_and_how_it_compares() -> None:
    same = {"images": 1000, "agreement": 0.999, "contradicted": 0.0, "worst_difference": 0.0123}
    parting = {"layer": "conv_7", "difference": 3.0}
    found = {**same, "first_parting": parting, "compared_with": "simulation"}
    dtypes = {"kernel": "int8", "bias": "int32"}
    rows = [row("stem", 1296, sparsity=0.5, distinct=16, kind="CONV_2D", dtypes=dtypes)]
    done = artifact("04-quantize", INT8, ledger=rows, parity=found)
    last = done.model_copy(update={"model_file": "model.tflite"})
    page = Page(render_html([artifact("03-prune", FLOAT, ledger=[row("prune")]), last], "t", ""))
    assert page.row("stem") == [
        "stem",
        "CONV_2D",
        "1,296",
        "50.00",
        "16",
        "kernel int8, bias int32",
    ]
    text = " ".join(page.text.split())
    assert "simulation in training agree on 99.90% of 1,000 test images" in text
    assert "differ by 0.012 at most, from layer conv_7 on" in text


# what a stage must not undo


def test_zeros_that_a_later_stage_fills_are_an_error_with_both_numbers() -> None:
    earlier = [made("prune", row(sparsity=0.5, distinct=51)), made("report")]
    with pytest.raises(ModelError, match=r"finetune undid.*'conv'.*0\.0%.*50\.0%.*finetune before"):
        ledger.checked([row()], "finetune", earlier)


def test_zeros_are_compared_with_the_latest_stage_that_has_the_layer() -> None:
    earlier = [made("prune", row(sparsity=0.8)), made("slim", row(sparsity=0.5, weights=60))]
    assert ledger.checked([row(sparsity=0.5, weights=60)], "cluster", earlier)


def test_a_share_of_the_zeros_may_go_with_the_channels_that_held_them() -> None:
    earlier = [made("prune", row(sparsity=0.5))]
    assert ledger.checked([row(sparsity=0.35, weights=60)], "slim", earlier)
    with pytest.raises(ModelError, match="slim undid"):
        ledger.checked([row(sparsity=0.35)], "slim", earlier)
    with pytest.raises(ModelError, match="factorize undid"):
        ledger.checked([row(sparsity=0.0, weights=60)], "factorize", earlier)


def test_rounding_may_make_more_zeros_and_fewer_values() -> None:
    earlier = [made("prune"), made("cluster", row(sparsity=0.5, distinct=16))]
    assert ledger.checked([row(sparsity=0.6, distinct=14)], "quantize", earlier)


@pytest.mark.parametrize(
    ("dtype", "advice"), [("float32", "Put quantize before cluster"), ("int8", "method=qat")]
)
def test_more_values_than_were_clustered_are_an_error_with_both_numbers(
    dtype: str, advice: str
) -> None:
    later = row(distinct=40, dtypes={"kernel": dtype})
    with pytest.raises(ModelError, match=rf"'conv'. Received: 40 distinct.*16 before.*{advice}"):
        ledger.checked([later], "quantize", [made("cluster", row(distinct=16))])


def test_nothing_is_expected_of_a_kernel_that_no_stage_compressed() -> None:
    earlier = [made("search", row(sparsity=0.5, distinct=3)), made("prune", row("other"))]
    assert ledger.checked([row()], "finetune", earlier[:1])
    assert ledger.checked([row()], "finetune", [made("cluster", row(distinct=100))])


@pytest.mark.slow
def test_a_run_whose_stage_undoes_an_earlier_one_fails(
    workplace: Path, few_digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def filled(sparsity: float) -> Callable[..., Artifact]:
        def run(source: Artifact, config: Any, ctx: Any) -> Artifact:
            model = keras.models.load_model(source.model_path, compile=False)
            for _, kernel in structure.kernels(model):
                values = np.random.default_rng(0).uniform(0.1, 1.0, kernel.shape)
                kernel.assign(np.where(values < 0.1 + 0.9 * sparsity, 0.0, values))
            return ctx.save_keras(model, source)

        return run

    monkeypatch.setattr(datasets, "load", lambda *_: few_digits)
    monkeypatch.setattr(prune, "run", filled(0.5))
    monkeypatch.setattr(finetune, "run", filled(0.0))
    inputs = keras.Input(few_digits.image_shape)
    x = layers.Dense(10, activation="softmax", name="logits")(layers.Flatten()(inputs))
    keras.Model(inputs, x).save(workplace / "start.keras")
    (workplace / "undone.yaml").write_text(
        "description: Pruned, then trained as if it were not\ndata: digits\n"
        "max_accuracy_drop: 0.99\n"
        "stages: [load: {model: start.keras, accept: true}, prune: {sparsity: 0.5}, finetune]\n"
    )
    with pytest.raises(ModelError, match="finetune undid what was done before to layer 'logits'"):
        runner.run(recipe.load("undone.yaml", {}), workplace / "runs" / "undone")
    assert load(workplace / "runs" / "undone" / "03-finetune") is None


def test_a_float_file_may_have_the_factors_of_normalization_in_its_kernels(tmp_path: Path) -> None:
    inputs = keras.Input((4, 4, 2))
    x = layers.Conv2D(8, 3, use_bias=False, name="conv")(inputs)
    norm = layers.BatchNormalization(name="norm")
    model = keras.Model(inputs, layers.Flatten()(layers.ReLU()(norm(x))))
    kernel = model.get_layer("conv").kernel
    kernel.assign(np.random.default_rng(0).choice([0.0, 1.0, 2.0], kernel.shape))
    norm.gamma.assign(np.linspace(1, 2, 8))
    known = {"ledger": ledger.of_keras(model)}
    earlier = [
        Artifact(
            stage=name, fingerprint="", model_file="m.keras", details=known, directory=tmp_path
        )
        for name in ("prune", "cluster")
    ]
    rows = ledger.of_tflite(read(convert.convert_float(model)))
    assert rows[0]["distinct"] > 3
    (row,) = ledger.checked(rows, "quantize", earlier)
    assert (row["layer"], row["dtypes"]["kernel"]) == ("conv", "float32")
    bad = {**rows[0], "sparsity": 0.0}
    with pytest.raises(ModelError, match=r"0\.0% zeros"):
        ledger.checked([bad], "quantize", earlier)


def test_signs_that_a_negative_factor_turns_are_no_new_values(tmp_path: Path) -> None:
    inputs = keras.Input((4, 4, 2))
    x = layers.Conv2D(8, 3, use_bias=False, name="conv")(inputs)
    norm = layers.BatchNormalization(name="norm")
    model = keras.Model(inputs, layers.Flatten()(layers.ReLU()(norm(x))))
    kernel = model.get_layer("conv").kernel
    kernel.assign(np.random.default_rng(0).choice([0.5, 1.0, 2.0], kernel.shape))
    norm.gamma.assign([-1.0, 1.0] * 4)
    known = {"ledger": ledger.of_keras(model)}
    place = {"fingerprint": "", "directory": tmp_path, "model_file": "m.keras"}
    earlier = [Artifact(stage="cluster", details=known, **place)]
    images = np.random.default_rng(0).uniform(0, 255, (8, 4, 4, 2)).astype(np.float32)
    rows = ledger.of_tflite(read(convert.ptq(model, images)))
    assert rows[0]["distinct"] == 6
    (row,) = ledger.checked(rows, "quantize", earlier)
    assert row["sizes"] == 3
    with pytest.raises(ModelError, match="4 distinct values, 3 before"):
        ledger.checked([{**rows[0], "sizes": 4, "distinct": 4}], "quantize", earlier)
