"""What a run says before it begins."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.recipes import Read
from support.recipes import read as read

import pipeline
from pipeline.artifact import Artifact
from pipeline.data.datasets import Dataset, Split
from pipeline.errors import RecipeError
from pipeline.plan import overview
from pipeline.recipe import Recipe

SEARCH = "- search: {trials: 9, epochs: 18, families: [mobilenet, resnet]}"
TEXT = (
    "description: Mine\ndata: folder:pets\nbudget: {flops: 6M}\ntargets: [mobile_cpu]\n"
    "max_accuracy_drop: 0.02\n"
    f"stages:\n{SEARCH}\n"
    "- prune: {learning_rate: 0.00003}\n- export\n"
)


def dataset(*counts: int, notes: tuple[str, ...] = ()) -> Dataset:
    """A data set with a number of images per class; 100 images of val, as many of each class."""
    names = tuple(f"class{number}" for number in range(len(counts)))
    images = np.zeros((sum(counts) + 200, 8, 10, 3), np.uint8)

    def part(labels: list[int]) -> Split:
        return Split(images, np.array(labels, np.int32), np.arange(len(labels)))

    train = [label for label, count in enumerate(counts) for _ in range(count)]
    held_out = [number % len(counts) for number in range(100)]
    parts = part(train), part(held_out), part(held_out)
    return Dataset("folder:pets", names, *parts, fingerprint="f", notes=notes)


@pytest.fixture
def recipe(read: Read) -> Recipe:
    return read(TEXT)


def told(recipe: Recipe, data: Dataset, out: Path, start: str) -> list[str]:
    """The lines of the overview that begin with `start`."""
    return [line for line in overview.lines(recipe, data, out) if line.startswith(start)]


def test_images_are_counted_by_part_and_class(recipe: Recipe, tmp_path: Path) -> None:
    data = dataset(30, 40)
    assert told(recipe, data, tmp_path, "data:") == [
        "data: folder:pets, 270 images in 2 classes; 70 train, 100 val, 100 test; 10x8 pixels, "
        "colour, fit: crop"
    ]
    assert told(recipe, data, tmp_path, "classes:") == ["classes: class1 140, class0 130"]


def test_of_many_classes_the_ends_are_named(recipe: Recipe, tmp_path: Path) -> None:
    data = dataset(*[10] * 19, 20)
    assert told(recipe, data, tmp_path, "classes:") == [
        "classes: from 20 images (class18) to 30 (class19)"
    ]


def test_uneven_classes_are_said(recipe: Recipe, tmp_path: Path) -> None:
    (line,) = told(recipe, dataset(1, 900), tmp_path, "the classes are uneven")
    assert line == (
        "the classes are uneven: class1 has 10 times the images of class0; always naming class1 "
        "would be right for 91%"
    )
    assert told(recipe, dataset(80, 90), tmp_path, "the classes are uneven") == []


def test_what_was_left_out_is_said(recipe: Recipe, tmp_path: Path) -> None:
    data = dataset(30, 40, notes=("left out 3 files: 2 .txt, 1 .csv",))
    assert "data: left out 3 files: 2 .txt, 1 .csv" in told(recipe, data, tmp_path, "data:")


def test_the_bounds_are_said_in_images(recipe: Recipe, tmp_path: Path) -> None:
    assert told(recipe, dataset(30, 40), tmp_path, "bounds:") == [
        "bounds: flops at most 6M; to run on mobile_cpu; compression may cost 2% of val accuracy "
        "(2 of 100 images)"
    ]


def test_every_stage_is_listed_with_its_main_settings(recipe: Recipe, tmp_path: Path) -> None:
    assert told(recipe, dataset(30, 40), tmp_path, "stage") == [
        "stage 1: search (oracle priorband, trials 9, epochs 18, families mobilenet and resnet)",
        "stage 2: prune (epochs 6, learning rate 0.00003)",
        "stage 3: export",
    ]


def test_a_stage_that_has_finished_is_not_run_again(recipe: Recipe, tmp_path: Path) -> None:
    data = dataset(30, 40)
    code = recipe.fingerprints(pipeline.__version__, data.fingerprint)[0]
    directory = tmp_path / "01-search"
    directory.mkdir()
    Artifact(stage="search", fingerprint=code, directory=directory).save()
    first, second, _ = told(recipe, data, tmp_path, "stage")
    assert first == "stage 1: search (done before)"
    assert second.startswith("stage 2: prune (epochs")


def test_the_time_is_a_range_with_its_basis(recipe: Recipe, tmp_path: Path) -> None:
    (line,) = told(recipe, dataset(30, 40), tmp_path, "time:")
    assert "minutes, estimated: 2.4M to 6M FLOPs an image" in line
    assert "FLOPs a second in a short trial of this machine" in line


def test_a_network_that_is_not_known_yet_gets_no_estimate(read: Read, tmp_path: Path) -> None:
    text = TEXT.replace(SEARCH, "- load: {model: x}")
    (line,) = told(read(text), dataset(30, 40), tmp_path, "time:")
    assert line.startswith("time: not estimated, since")


def test_a_published_network_is_counted_for_these_images(read: Read, tmp_path: Path) -> None:
    text = TEXT.replace(SEARCH, "- load: {network: mobilenet_v2}")
    (line,) = told(read(text), dataset(30, 40), tmp_path, "time:")
    assert "estimated: " in line


def test_a_password_of_the_store_is_not_shown(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@there:5000")
    (line,) = told(recipe, dataset(30, 40), tmp_path, "results:")
    assert line == (
        f"results: {tmp_path}; what to hand over: {tmp_path / 'export'}; "
        "MLflow: http://me:***@there:5000"
    )


def test_nothing_is_written(recipe: Recipe, tmp_path: Path) -> None:
    overview.lines(recipe, dataset(30, 40), tmp_path / "out")
    assert list(tmp_path.iterdir()) == [tmp_path / "mine.yaml"]


# classes of different sizes


PROPOSED = "accuracy counts every image alike"


def test_uneven_classes_have_one_line_that_proposes_what_to_set(
    recipe: Recipe, tmp_path: Path
) -> None:
    (line,) = told(recipe, dataset(10, 31), tmp_path, PROPOSED)
    assert '--set "objective=macro_f1 search.class_weights=auto"' in line
    assert told(recipe, dataset(10, 30), tmp_path, PROPOSED) == []


@pytest.mark.parametrize(
    "given",
    ["objective=auc", "search.class_weights=auto", "search.sampling=balanced"],
)
def test_what_is_set_already_is_not_proposed(given: str, read: Read, tmp_path: Path) -> None:
    assert told(read(TEXT, given), dataset(10, 90), tmp_path, PROPOSED) == []


def test_weights_are_told_by_their_ends(read: Read, tmp_path: Path) -> None:
    made = read(TEXT, "search.class_weights=auto")
    assert told(made, dataset(10, 30), tmp_path, "search:") == [
        "search: an image of a class counts in the loss from 0.667 (class1) to 2 (class0) times"
    ]


def test_a_weight_of_a_class_that_the_data_do_not_have_names_the_setting(read: Read) -> None:
    made = read(TEXT, "search.class_weights={class7: 2}")
    with pytest.raises(
        RecipeError, match=r"^search\.class_weights: .*Received: 'class7'\. Known: "
    ):
        overview.classes(made, dataset(10, 30))


def test_the_objective_and_the_classes_that_val_lacks_are_said(read: Read, tmp_path: Path) -> None:
    data = dataset(10, 30)
    val = Split(data.val.images, np.zeros(100, np.int32), data.val.index)
    made = read(TEXT, "objective=macro_f1")
    lines = overview.lines(made, replace(data, val=val), tmp_path)
    assert "objective: macro F1 on val decides wherever accuracy would" in lines
    assert "no val images of class1: left out of the mean of macro F1" in lines
    (bounds,) = (line for line in lines if line.startswith("bounds:"))
    assert bounds.endswith("compression may cost 2 points of val macro F1")


@pytest.mark.parametrize(
    ("given", "stage"),
    [
        ("search.class_weights=auto search.sampling=balanced", "search"),
        ("search.class_weights=auto search.sampling=stratified", None),
        ("search.sampling=balanced", None),
    ],
)
def test_what_makes_up_for_rare_classes_twice_is_said(
    given: str, stage: str | None, read: Read, tmp_path: Path
) -> None:
    lines = overview.lines(read(TEXT, given), dataset(10, 30), tmp_path)
    said = [line for line in lines if "make up for the same twice" in line]
    assert len(said) == (stage is not None)
    assert all(line.startswith(f"{stage}: ") for line in said)
