"""The prune stage: its settings, what it says of its work, and going on after an interruption."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from pydantic import ValidationError
from support.context import RecordingLog, make_context

from pipeline.artifact import Artifact
from pipeline.context import Attempt
from pipeline.data.datasets import Dataset
from pipeline.errors import ModelError
from pipeline.measure import metrics
from pipeline.objective import Goal
from pipeline.report import page
from pipeline.stages import prune
from pipeline.stages.prune import Config
from pipeline.train.checkpoint import CHECKPOINT

FIRST = ("stem", "depthwise")


class Killed(Exception):
    """The process ends here."""


class KillingLog(RecordingLog):
    """Raises at one epoch."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.last = last

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        super().metrics(values, step)
        if step == self.last:
            raise Killed


@pytest.fixture(scope="module")
def source(few_digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A network with every kind of state: statistics, a random generator."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(few_digits.image_shape)
    x = layers.Rescaling(1 / 128, offset=-1.0)(inputs)
    x = layers.Conv2D(8, 3, strides=4, activation="relu", name="stem")(x)
    x = layers.DepthwiseConv2D(3, activation="relu", name="depthwise")(x)
    x = layers.Conv2D(16, 1, name="conv")(layers.BatchNormalization(momentum=0.5)(x))
    x = layers.Dropout(0.3)(layers.GlobalMaxPooling2D()(layers.ReLU()(x)))
    model = keras.Model(inputs, layers.Softmax()(layers.Dense(10, name="dense")(x)))
    place = tmp_path_factory.mktemp("source")
    model.save(place / "model.keras")
    found = {"stage": "finetune", "model_file": "model.keras", "settings": {"batch_size": 16}}
    return Artifact(fingerprint="", directory=place, **found)


@pytest.fixture
def run(source: Artifact, few_digits: Dataset, tmp_path: Path) -> Callable[..., Artifact]:
    """Run the stage in a directory of that name."""

    def run(name: str, start: Artifact = source, **settings: Any) -> Any:
        log = settings.pop("log", RecordingLog())
        context = make_context(tmp_path / name, few_digits, name="prune", log=log)
        settings = {"allocation": "uniform", **settings}
        return prune.run(start, Config(**settings), context)

    return run


def loaded(made: Artifact) -> keras.Model:
    assert made.model_path is not None
    return keras.models.load_model(made.model_path, compile=False)


def sparsities(made: Artifact) -> dict[str, float]:
    """Fractions of zeros in the saved file."""
    found = (layer for layer in loaded(made).layers if hasattr(layer, "kernel"))
    return {layer.name: float(np.mean(np.asarray(layer.kernel) == 0)) for layer in found}


# what it does


def test_half_of_the_weights_become_zero_unless_told_otherwise(run: Callable[..., Any]) -> None:
    found = sparsities(run("made", epochs=2))
    assert found == {"stem": 0, "depthwise": 0, "conv": 0.5, "dense": 0.5}


def test_the_rows_say_what_was_pruned_and_why_the_rest_was_not(run: Callable[..., Any]) -> None:
    made = run("made", epochs=1, schedule="constant", sparsity=0.25)
    rows = {row["layer"]: row for row in made.details.layers}
    assert {name for name, row in rows.items() if row["treatment"] == "skipped"} == set(FIRST)
    assert {name for name, row in rows.items() if row["reason"]} == set(FIRST)
    assert rows["conv"]["treatment"] == "pruned"
    assert rows["conv"]["sparsity"] == sparsities(made)["conv"] == 0.25


@pytest.mark.slow
def test_all_kernels_together_have_the_sparsity(run: Callable[..., Any]) -> None:
    for allocation in ("deviation", "sensitivity"):
        found = sparsities(run(allocation, epochs=2, sparsity=0.8, allocation=allocation))
        zeros = found["conv"] * 8 * 16 + found["dense"] * 16 * 10
        assert abs(zeros - 0.8 * (8 * 16 + 16 * 10)) <= 2, allocation


@pytest.mark.slow
def test_the_sensitivity_of_every_kernel_is_in_the_report(run: Callable[..., Any]) -> None:
    made = run("made", epochs=2, allocation="sensitivity")
    curves = made.details.sensitivity
    assert set(curves) == {"conv", "dense"}
    again = Artifact(**made.model_dump(mode="json", exclude={"directory"}), directory=Path())
    html = page.render_html([again], "title", "")
    assert "Zeros in the kernel" in html
    assert "when one kernel is pruned alone" in html


@pytest.mark.slow
def test_balanced_zeros_come_with_the_cycles_that_they_save(run: Callable[..., Any]) -> None:
    made = run("made", epochs=2, pattern="balanced-4")
    cycles = made.details.cycles
    assert cycles["conv"][1] == 8 * 16 * 0.5 / 4
    assert cycles["dense"][1] == 16 * 10 * 0.5 / 4
    assert all(before >= after for before, after in cycles.values())
    assert "cycles" in made.details.note
    kernel = np.asarray(loaded(made).get_layer("conv").kernel)[0, 0]
    assert {int(np.count_nonzero(kernel[:, lane::4])) for lane in range(4)} == {16}


def test_two_of_every_four_inputs_stay(run: Callable[..., Any]) -> None:
    kernel = np.asarray(loaded(run("made", epochs=2, pattern="2:4")).get_layer("conv").kernel)
    groups = kernel[0, 0].reshape(2, 4, 16)
    assert np.all(np.count_nonzero(groups, axis=1) == 2)


@pytest.mark.slow
def test_a_pruned_network_is_pruned_further(run: Callable[..., Any]) -> None:
    first = run("first", epochs=2, sparsity=0.5)
    second = run("second", start=first, epochs=2, sparsity=0.75)
    zeros = np.asarray(loaded(first).get_layer("conv").kernel) == 0
    assert np.all(np.asarray(loaded(second).get_layer("conv").kernel)[zeros] == 0)
    assert sparsities(second)["conv"] == 0.75


@pytest.mark.slow
def test_the_curves_go_through_all_rounds(run: Callable[..., Any]) -> None:
    log = RecordingLog()
    made = run("made", log=log, epochs=5, rounds=2, sparsity=0.75)
    assert log.steps == [1, 2, 3, 4, 5]
    assert {len(values) for values in made.details.history.values()} == {5}
    assert sparsities(made)["conv"] == 0.75
    assert {path.name for path in made.directory.iterdir()} == {"model.keras", CHECKPOINT}


# what stays whole


def test_layers_that_are_named_stay_whole(run: Callable[..., Any]) -> None:
    made = run("made", epochs=2, exempt=("dense",))
    assert sparsities(made) == {"stem": 0, "depthwise": 0, "conv": 0.5, "dense": 0}
    rows = {row["layer"]: row for row in made.details.layers}
    assert rows["dense"]["reason"] == "left whole to keep accuracy"


def test_a_name_that_no_layer_has_is_refused_with_what_is_close(run: Callable[..., Any]) -> None:
    with pytest.raises(ModelError, match=r"prune\.exempt: .*'dens'. Did you mean dense"):
        run("made", exempt=("dens",))
    with pytest.raises(ModelError, match=r"'xyz'\. Known: .*stem"):
        run("made", exempt=("xyz",))


@pytest.mark.slow
def test_the_kernel_that_costs_most_stays_whole(
    run: Callable[..., Any], source: Artifact, few_digits: Dataset
) -> None:
    split, losses = few_digits.val, {}
    for name in ("conv", "dense"):
        model = loaded(source)
        kernel = np.asarray(model.get_layer(name).kernel)
        least = np.sort(np.abs(kernel).reshape(-1))[round(0.9 * kernel.size)]
        model.get_layer(name).kernel.assign(np.where(np.abs(kernel) < least, 0, kernel))
        scores = np.asarray(model(split.images[split.index].astype(np.float32)))
        losses[name] = -np.mean(np.log(scores[np.arange(len(split)), split.labels]))
    worst = max(losses, key=lambda name: losses[name])
    settings = {"sparsity": 0.9, "score": "magnitude", "exempt_sensitive": 1}
    found = sparsities(run("made", epochs=2, **settings))
    assert found[worst] == 0
    assert sorted((found["conv"], found["dense"]))[1] == pytest.approx(0.9, abs=0.01)


@pytest.mark.slow
def test_at_least_one_kernel_is_pruned(run: Callable[..., Any]) -> None:
    found = sparsities(run("made", epochs=2, exempt_sensitive=9))
    assert sorted((found["conv"], found["dense"])) == [0, 0.5]


# going on


@pytest.mark.slow
def test_pruning_goes_on_as_if_it_had_not_been_interrupted(run: Callable[..., Any]) -> None:
    settings = {"epochs": 8, "rounds": 2, "sparsity": 0.8, "learning_rate": 0.01}
    expected = loaded(run("straight", **settings)).get_weights()
    for last in (2, 5, 7):  # on the ramp, in the second round, after its ramp
        with pytest.raises(Killed):
            run("killed", log=KillingLog(last), **settings)
    log = RecordingLog()
    resumed = run("killed", log=log, **settings)
    assert log.steps == [7, 8]  # the one that was not recorded is trained again
    for one, other in zip(loaded(resumed).get_weights(), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


# settings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epochs": 1}, "need 2 epochs.*epochs=1"),
        ({"epochs": 5, "rounds": 3}, "need 6 epochs"),
        ({"epochs": 2, "rounds": 3, "schedule": "constant"}, "need 3 epochs"),
        ({"quality": 0.7}, "allocation deviation.*allocation=None"),
        ({"quality": 0.7, "allocation": "deviation", "sparsity": 0.5}, "leave sparsity out"),
        ({"pattern": "2:4", "sparsity": 0.6}, "makes 0.5 of every kernel zero.*sparsity=0.6"),
        ({"pattern": "2:4", "allocation": "sensitivity"}, "allocation=sensitivity"),
        ({"pattern": "4:2"}, "no such pattern.*'4:2'"),
        ({"pattern": 5}, "no such pattern"),
        ({"pattern": "block"}, "block-4x1"),
    ],
)
def test_what_cannot_be_had_together_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Config(**settings)


def test_a_ratio_may_lack_its_quotes() -> None:
    import yaml

    assert Config(**yaml.safe_load("{pattern: 2:4}")).pattern == "2:4"
    assert Config(**yaml.safe_load("{pattern: 1:16}")).pattern == "1:16"


def test_a_resolved_section_can_be_read_again() -> None:
    for given in ({}, {"pattern": "1:4"}, {"allocation": "deviation", "quality": 0.7}):
        config = Config(**given)
        assert Config(**config.model_dump(mode="json")) == config


def milder(**settings: Any) -> list[dict[str, Any]]:
    """What the rungs of the ladder change, from strong to mild, behind what was asked for."""
    asked = Config(**settings)
    steps = prune.ladder(asked)
    assert steps.rungs[-1] == asked
    assert steps.start == len(steps.rungs) - 1
    given, rungs = asked.model_dump(), [one.model_dump() for one in steps.rungs[-2::-1]]
    return [{key: value for key, value in one.items() if value != given[key]} for one in rungs]


def test_a_sparsity_is_tried_milder_with_the_most_sensitive_kernels_whole_first() -> None:
    fewer = [{"sparsity": pytest.approx(0.8 * share)} for share in (0.75, 0.5, 0.25)]
    whole = [{"exempt_sensitive": 1}, {"exempt_sensitive": 2}]
    assert milder(sparsity=0.8) == whole + fewer
    by = {"allocation": "sensitivity"}
    better = [by, *({**by, **one} for one in whole)]
    assert milder(sparsity=0.8, allocation="uniform") == better + fewer
    assert milder(sparsity=0.8, exempt_sensitive=3)[:2] == [
        {"exempt_sensitive": 4},
        {"exempt_sensitive": 5},
    ]


def test_a_pattern_is_tried_milder_with_more_and_more_kernels_whole() -> None:
    assert milder(pattern="2:4") == [{"exempt_sensitive": count} for count in (1, 2, 4, 8, 16)]


# attempts


def test_only_more_zeros_can_be_added_to_those_of_an_attempt() -> None:
    goes_on = prune.ladder(Config()).goes_on
    assert goes_on(Config(sparsity=0.5), Config(sparsity=0.7))
    assert not goes_on(Config(sparsity=0.5), Config(sparsity=0.7, exempt_sensitive=1))
    assert not goes_on(Config(sparsity=0.5, exempt_sensitive=1), Config(sparsity=0.5))
    assert not goes_on(Config(sparsity=0.5, allocation="uniform"), Config(sparsity=0.7))


def test_the_gauge_scores_the_zeros_of_a_rung_without_training(
    source: Artifact, few_digits: Dataset, tmp_path: Path
) -> None:
    settings = {"score": "magnitude", "allocation": "uniform"}
    rungs = [Config(sparsity=sparsity, **settings) for sparsity in (0.001, 0.5)]
    kept = source.model_copy(update={"settings": {"fix_norms": True}})
    found = prune.gauge(rungs, kept, make_context(tmp_path / "prune", few_digits))
    for sparsity, score in zip((0.0, 0.5), found, strict=True):
        model = loaded(source)
        for name in ("conv", "dense"):
            kernel = np.asarray(model.get_layer(name).kernel)
            sizes = np.abs(kernel).reshape(-1)
            least = np.sort(sizes)[round(sparsity * sizes.size)]
            model.get_layer(name).kernel.assign(np.where(np.abs(kernel) < least, 0, kernel))
        assert score == pytest.approx(metrics.keras_hits(model, few_digits.val).mean())


@pytest.mark.parametrize(("floor", "epochs"), [(2.0, 4), (0.0, 4), (None, 6)])
def test_within_a_floor_training_ends_once_it_is_clear_how(
    run: Callable[..., Any],
    source: Artifact,
    few_digits: Dataset,
    tmp_path: Path,
    floor: float | None,
    epochs: int,
) -> None:
    attempt = None if floor is None else Attempt(source, tmp_path, Goal(floor, floor, 100))
    context = make_context(tmp_path / "made", few_digits, name="prune", attempt=attempt)
    made = prune.run(source, Config(allocation="uniform", sparsity=0.5, epochs=6), context)
    assert len(made.details.history["val/loss"]) == epochs  # the ramp takes three
    assert sparsities(made)["conv"] == 0.5


@pytest.mark.slow
def test_attempts_share_the_scan_and_learn_from_the_input(
    source: Artifact, few_digits: Dataset, tmp_path: Path
) -> None:
    attempt = Attempt(source, tmp_path, Goal(0.0, 0.0, 100))
    made = source
    curves = []
    for number, sparsity in enumerate((0.5, 0.7)):
        place = tmp_path / f"{number}"
        context = make_context(place, few_digits, name="prune", attempt=attempt)
        made = prune.run(made, Config(sparsity=sparsity, epochs=2), context)
        curves.append(made.details.sensitivity)
    assert curves[0] == curves[1]
    assert (tmp_path / "scan.json").exists()
