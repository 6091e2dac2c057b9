"""What a stage is given: its artifact carries on what it does not change, and files are its own."""

from pathlib import Path

import keras
from support.context import make_context

from pipeline.artifact import Artifact
from pipeline.data.datasets import Dataset


def test_what_a_stage_does_not_change_is_taken_over(tmp_path: Path, squares: Dataset) -> None:
    ctx = make_context(tmp_path / "prune", squares)
    source = Artifact(
        stage="finetune",
        fingerprint="f",
        directory=tmp_path / "02-finetune",
        family="resnet",
        arch={"depth": 8},
        settings={"epochs": 3},
    )
    made = ctx.done(source, settings={"epochs": 5})
    assert (made.family, made.arch, made.settings) == ("resnet", {"depth": 8}, {"epochs": 5})
    assert (made.parent, made.directory) == ("02-finetune", ctx.directory)


def test_a_stage_without_a_source_has_no_parent(tmp_path: Path, squares: Dataset) -> None:
    ctx = make_context(tmp_path / "load", squares)
    nothing = Artifact(stage="data", fingerprint="", directory=tmp_path)
    assert ctx.done(nothing).parent is None


def test_models_are_saved_where_the_stage_belongs(tmp_path: Path, squares: Dataset) -> None:
    ctx = make_context(tmp_path / "load", squares)
    nothing = Artifact(stage="data", fingerprint="", directory=tmp_path)
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    assert ctx.save_keras(model, nothing).model_path == ctx.directory / "model.keras"
    made = ctx.save_tflite(b"content", nothing)
    assert made.model_path is not None
    assert made.model_path.read_bytes() == b"content"


def test_earlier_stages_are_those_before_it_in_the_run(tmp_path: Path, squares: Dataset) -> None:
    for name in ("01-load", "02-prune", "03-report"):
        place = tmp_path / name
        place.mkdir()
        Artifact(stage=name[3:], fingerprint=name, directory=place).save()
    ctx = make_context(tmp_path / "02-prune", squares, run_dir=tmp_path)
    assert [one.stage for one in ctx.earlier()] == ["load"]
