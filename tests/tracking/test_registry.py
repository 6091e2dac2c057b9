"""The model that a run exports: how it is logged, which one is champion, what is not repeated."""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pytest
from keras import layers
from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient

from pipeline import recipe, runner
from pipeline.tflite import convert
from pipeline.tracking import registry, runs
from pipeline.tracking.registry import CHAMPION, Candidate

pytestmark = pytest.mark.usefixtures("workplace", "new_process")

EXPORT = """description: A published network, untrained
data: digits
stages:
  - load: {network: lenet5}
  - export
"""
Register = Callable[..., ModelVersion]


@pytest.fixture(scope="module")
def content() -> bytes:
    inputs = keras.Input((6, 5, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    outputs = layers.Softmax()(layers.Dense(3)(layers.Flatten()(x)))
    images = np.random.default_rng(0).integers(0, 256, (8, 6, 5, 3)).astype(np.float32)
    return convert.ptq(keras.Model(inputs, outputs), images)


@pytest.fixture(scope="module")
def client(workplace: Path) -> MlflowClient:
    return MlflowClient()


@pytest.fixture
def register(content: bytes, tmp_path: Path, request: pytest.FixtureRequest) -> Register:
    """Register a file under the name of the test; what is asked for tells one from the other."""

    def made(
        accuracy: float = 0.9,
        longer: int = 0,
        split: str = "the same",
        name: str = "",
        **more: Any,
    ) -> ModelVersion:
        (tmp_path / registry.MODEL).write_bytes(content + bytes(longer))
        (tmp_path / registry.LABELS).write_text("cat\ndog\nowl\n")
        example = np.zeros((6, 5, 3), np.uint8)
        name = name or request.node.name
        tags = {"data": "pets"}
        candidate = Candidate(name, tmp_path, example, accuracy, split, tags, **more)
        with runs.start("mobile") as run:
            registry.register(candidate, run)
        found = MlflowClient().search_model_versions(f"name = '{candidate.name}'")
        return max(found, key=lambda one: int(one.version))

    return made


def champion(client: MlflowClient, one: ModelVersion) -> str:
    return str(client.get_model_version_by_alias(one.name, CHAMPION).version)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "flopsmith"]


@pytest.fixture(autouse=True)
def _info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "flopsmith")


# which version is champion


def test_the_first_version_is_champion(register: Register, client: MlflowClient) -> None:
    assert champion(client, register()) == "1"


@pytest.mark.parametrize(
    ("first", "second", "best"),
    [
        ((0.9, 0), (0.91, 9), "2"),
        ((0.9, 0), (0.89, 9), "1"),
        ((0.9, 9), (0.9, 0), "2"),
        ((0.9, 0), (0.9, 9), "1"),
    ],
    ids=["more accurate", "less accurate", "as accurate and smaller", "as accurate and larger"],
)
def test_of_two_on_the_same_images_the_better_is_champion(
    register: Register,
    client: MlflowClient,
    caplog: pytest.LogCaptureFixture,
    first: tuple[float, int],
    second: tuple[float, int],
    best: str,
) -> None:
    name = f"of-two-{first}-{second}"
    register(*first, name=name)
    new = register(*second, name=name)
    assert new.version == 2
    assert champion(client, new) == best
    assert f"{second[0]:.4f} and " in told(caplog)[-1]
    assert (CHAMPION in told(caplog)[-1]) == (best == "2")


def test_what_was_tested_on_other_images_is_not_compared(
    register: Register, client: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    register(0.9)
    new = register(0.99, split="another")
    assert (new.version, champion(client, new)) == (2, "1")
    line = told(caplog)[-1]
    assert "version 2 was tested on other images than version 1, which stays champion" in line
    call = line.partition("To choose it: ")[2]
    exec(call, {"mlflow": mlflow})  # what the line says works
    assert champion(client, new) == "2"


def test_by_another_objective_the_best_in_that_score_is_champion(
    register: Register, client: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    def made(accuracy: float, f1: float, longer: int) -> ModelVersion:
        scores = {"accuracy": accuracy, "macro_f1": f1}
        return register(accuracy, longer, objective="macro_f1", scores=scores)

    made(0.95, 0.5, 0)
    assert champion(client, made(0.90, 0.6, 1)) == "2"
    assert "0.6000 and " in told(caplog)[-1]
    assert champion(client, made(0.99, 0.55, 2)) == "2"
    # a version whose objective is accuracy is compared by that, which is said
    new = register(0.94, 3, scores={"accuracy": 0.94, "macro_f1": 0.4})
    assert champion(client, new) == "4"
    said = "the objective of version 4 is accuracy, that of version 2 is macro_f1"
    assert any(said in line for line in told(caplog))


def test_a_version_without_that_score_stays_champion(
    register: Register, client: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    register(0.9)
    new = register(0.95, 1, objective="auc", scores={"auc": 0.99})
    assert champion(client, new) == "1"
    assert "version 1 has no test_auc and stays champion" in told(caplog)[-1]


def test_a_champion_that_someone_else_made_stays(register: Register, client: MlflowClient) -> None:
    new = register()
    other = client.create_model_version(new.name, new.source)
    client.set_registered_model_alias(new.name, CHAMPION, other.version)
    newest = register(0.99, longer=1)
    assert (newest.version, champion(client, newest)) == (3, "2")


# data sets, and models that must not be champion


def test_each_data_set_has_a_champion_of_its_own(register: Register, client: MlflowClient) -> None:
    name = "each-data-set"
    digits, photos = register(name=name), register(0.5, split="another", name=name, data="photos")
    assert digits.name == "flopsmith-each-data-set"
    assert photos.name == "flopsmith-each-data-set-photos"
    assert [champion(client, one) for one in (digits, photos)] == ["1", "1"]


def test_the_log_says_how_to_serve_the_champion(
    register: Register, caplog: pytest.LogCaptureFixture
) -> None:
    one = register(data="photos")
    assert f"mlflow models serve -m models:/{one.name}@{CHAMPION} " in told(caplog)[-1]


def test_a_withheld_model_is_registered_without_the_alias(
    register: Register, client: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    one = register(0.23, withhold="it is no better than guessing")
    assert client.get_registered_model(one.name).aliases == {}
    assert one.tags[registry.WITHHELD] == "it is no better than guessing"
    assert "not made champion: it is no better than guessing" in told(caplog)[-1]
    assert champion(client, register(0.9, longer=1)) == "2"
    register(0.99, longer=2, withhold="measured on too few images")
    assert champion(client, one) == "2"


# what is not repeated


def test_the_same_file_is_registered_once(
    register: Register, client: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    register()
    register(longer=1)
    before = len(client.search_logged_models(["1"]))
    assert register().version == 2
    assert told(caplog)[-1].endswith("version 1 is this file already")
    assert len(client.search_logged_models(["1"])) == before


def test_the_same_file_tested_on_other_images_is_another_version(register: Register) -> None:
    register()
    assert register(split="another").version == 2


# what is logged


def test_a_version_says_what_it_is(
    register: Register, content: bytes, client: MlflowClient
) -> None:
    one = register(0.9)
    assert one.tags["data"] == "pets"
    assert one.tags["test_accuracy"] == "0.9"
    assert one.tags["data_fingerprint"] == "the same"
    assert one.tags["size_bytes"] == str(len(content))
    assert len(one.tags["sha256"]) == 64
    run = client.get_run(one.run_id)
    assert run.data.tags["registered_model"] == f"models:/{one.name}/1"
    logged = client.get_logged_model(one.source.rpartition("/")[2])
    assert json.loads(logged.tags["mlflow.modelVersions"])[0]["name"] == one.name


def test_a_model_has_a_signature_an_example_its_labels_and_its_preprocessing(
    register: Register,
) -> None:
    model = mlflow.pyfunc.load_model(f"models:/{register().name}/1")
    meta = model.metadata
    assert meta.get_input_schema().input_names() == ["image"]
    assert meta.get_output_schema().input_names() == ["label", "score", "scores"]
    assert meta.metadata["labels"] == ["cat", "dog", "owl"]
    assert meta.metadata["input_shape"] == [6, 5, 3]
    assert "cropped" in meta.metadata["preprocessing"]
    (row,) = model.predict(model.input_example).to_dict("records")
    assert row["label"] in row["scores"]


def test_a_model_needs_neither_tensorflow_nor_us(register: Register) -> None:
    place = mlflow.pyfunc.get_model_dependencies(f"models:/{register().name}/1")
    packages = [line.partition("==")[0] for line in Path(place).read_text().split()]
    assert packages == ["ai-edge-litert", "mlflow", "numpy", "pandas", "pillow"]


def test_the_lock_file_of_the_user_is_not_taken_along(register: Register, workplace: Path) -> None:
    for name in ("uv.lock", "pyproject.toml"):
        (workplace / name).write_text("")
    place = mlflow.artifacts.download_artifacts(f"models:/{register().name}/1")
    assert not list(Path(place).glob("uv.lock"))


@pytest.mark.parametrize("name", ["my recipe", "a/b:c", "v1.5", "it's", "Größe"])
def test_any_name_of_a_recipe_makes_a_name(register: Register, name: str) -> None:
    one = register(name=name)
    assert mlflow.pyfunc.load_model(f"models:/{one.name}@{CHAMPION}")


def test_nothing_but_our_log_is_shown(
    register: Register, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    capfd.readouterr()
    with open(2, "w", buffering=1, closefd=False) as terminal:  # as it is without pytest
        monkeypatch.setattr("sys.stderr", terminal)
        assert register(longer=1).version == 2
        monkeypatch.undo()
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", "")


def test_it_takes_seconds(register: Register) -> None:
    register()
    start = time.perf_counter()
    register(longer=1)
    assert time.perf_counter() - start < 10  # 1 on an idle machine


# stores


def test_a_store_that_cannot_hold_models_costs_a_warning(
    register: Register, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = register()
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "nowhere://at/all")
    with pytest.raises(mlflow.MlflowException):
        register(longer=1)  # raised by the look-up of this test, not by the run
    monkeypatch.delenv("MLFLOW_REGISTRY_URI")
    assert MlflowClient().search_runs(["1"])[0].info.status == "FINISHED"
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert f"{first.name}: MLflow did not register the model: " in warning.getMessage()


def test_a_store_of_files_holds_models(
    register: Register, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/mlruns")
    assert register().version == 1
    assert register().version == 1


# from a run


@pytest.mark.slow
def test_a_run_that_exports_registers_what_it_exported(
    workplace: Path, client: MlflowClient
) -> None:
    (workplace / "published.yaml").write_text(EXPORT)
    loaded = recipe.load("published.yaml")
    finished, _ = runner.run(loaded, workplace / "out")
    runner.run(loaded, workplace / "out")
    (one,) = client.search_model_versions("name = 'flopsmith-published'")
    accuracy = finished[-1].metrics["test_accuracy"]
    assert (one.tags["data"], one.tags["seed"]) == ("digits", "0")
    assert float(one.tags["test_accuracy"]) == accuracy
    place = Path(mlflow.artifacts.download_artifacts(f"models:/{one.name}/{one.version}"))
    exported = (workplace / "out/export/model.tflite").read_bytes()
    assert (place / "artifacts/model.tflite").read_bytes() == exported


def test_a_run_that_exports_nothing_registers_nothing(
    workplace: Path, client: MlflowClient
) -> None:
    text = "description: Nothing\ndata: digits\nstages: [report]\n"
    (workplace / "nothing.yaml").write_text(text)
    runner.run(recipe.load("nothing.yaml"), workplace / "nothing")
    assert not client.search_model_versions("name = 'flopsmith-nothing'")


def test_the_page_of_the_model_has_its_numbers_those_on_test_with_the_data_set(
    register: Register, client: MlflowClient
) -> None:
    numbers = {"test_accuracy": 0.875, "size_bytes": 2048.0}
    version = register(numbers=numbers, source="folder:pets", split="a" * 64)
    experiment = client.get_run(version.run_id).info.experiment_id
    logged = next(
        one for one in client.search_logged_models([experiment]) if one.name == version.name
    )
    found = {one.key: one for one in client.get_logged_model(logged.model_id).metrics}
    assert {key: one.value for key, one in found.items()} == numbers
    assert found["test_accuracy"].dataset_name == "folder:pets"
    assert found["test_accuracy"].dataset_digest == "a" * 36
    assert found["size_bytes"].dataset_name is None
