"""What a `.keras` file costs, as JSON and as a table."""

import json
import re
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.errors import ModelError
from pipeline.graph import complexity, profile


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    inputs = keras.Input((32, 32, 3))
    x = layers.BatchNormalization()(layers.Conv2D(8, 3, name="a" * 200)(inputs))
    x = layers.Dense(1000, name="logits")(layers.GlobalAveragePooling2D()(x))
    place = tmp_path_factory.mktemp("profile") / "model.keras"
    keras.Model(inputs, x).save(place)
    return place


@pytest.fixture(scope="module")
def counted(path: Path) -> complexity.Profile:
    return profile.of_file(path)


def test_a_saved_model_costs_what_it_did_before(path: Path, counted: complexity.Profile) -> None:
    assert complexity.profile(keras.models.load_model(path)) == counted
    assert counted.macs == 3 * 3 * 3 * 8 * 30 * 30 + 8 * 1000


def test_the_totals_of_the_json_are_the_sums_of_its_layers(counted: complexity.Profile) -> None:
    shown = json.loads(json.dumps(profile.as_json(counted)))
    for key in ("params", "macs", "flops", "activation_bytes"):
        assert shown[key] == sum(layer[key] for layer in shown["layers"]) > 0, key
    assert shown["flops"] == 2 * shown["macs"]


def test_activations_are_counted_in_bytes_of_float32(counted: complexity.Profile) -> None:
    shown = profile.as_json(counted)
    assert shown["layers"][0]["activation_bytes"] == 4 * 30 * 30 * 8
    assert shown["peak_activation_bytes"] == 2 * 4 * 30 * 30 * 8


def numbers(line: str) -> list[int]:
    return [int(number.replace(",", "")) for number in re.findall(r"(?<=  )[\d,]+(?=  |$)", line)]


def test_the_table_has_a_row_per_layer_and_the_totals_of_the_json(
    counted: complexity.Profile,
) -> None:
    shown = profile.as_json(counted)
    keys = ("params", "macs", "flops", "activation_bytes")
    lines = profile.as_table(counted).splitlines()
    cut = [re.sub(r" +(all|\d+|-)$", "", line) for line in lines]  # the receptive field
    table = [row[-4:] for line in cut if len(row := numbers(line)) >= 4]
    expected = [*shown["layers"], shown]
    assert table == [[row[key] for key in keys] for row in expected]


def test_the_table_says_what_is_trainable_and_the_peak(counted: complexity.Profile) -> None:
    last = profile.as_table(counted).splitlines()[-1]
    assert f"{counted.trainable_params:,} of all parameters" in last
    assert f"{4 * counted.peak_activations:,} bytes" in last


def archive(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w") as zipped:
        for name, text in files.items():
            zipped.writestr(name.replace("_", "."), text)
    return path


@pytest.mark.parametrize("name", ["missing.keras", "missing"])
def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match=f"no such file. Received: .*{name}"):
        profile.of_file(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"text", b"TFL3" * 4])
def test_another_kind_of_file_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    (path := tmp_path / "photo.keras").write_bytes(content)
    with pytest.raises(ModelError, match=r"not a \.keras file. Received: .*photo\.keras"):
        profile.of_file(path)


def test_a_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"not a \.keras file"):
        profile.of_file(tmp_path)


@pytest.mark.parametrize(
    "files",
    [
        {"notes_txt": "hello"},
        {"config_json": "{", "metadata_json": "{}"},
        {"config_json": "[]", "metadata_json": "{}"},
        {"config_json": "{}", "metadata_json": "{}"},
        {"config_json": '{"class_name": "Dense"}', "metadata_json": "{}"},
    ],
    ids=str,
)
def test_another_archive_is_an_error_that_names_it(tmp_path: Path, files: dict[str, str]) -> None:
    with pytest.raises(
        ModelError, match=r"other\.keras: (Keras|the model) cannot (load it|be loaded)"
    ):
        profile.of_file(archive(tmp_path / "other.keras", **files))


def test_an_archive_of_another_name_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"other\.zip: Keras cannot load it"):
        profile.of_file(archive(tmp_path / "other.zip", notes_txt="hello"))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_damaged_file_is_an_error_that_names_it(path: Path, tmp_path: Path, share: float) -> None:
    content = bytearray(path.read_bytes())
    place = int(share * len(content))
    content[place : place + 64] = bytes(64)
    (damaged := tmp_path / "damaged.keras").write_bytes(content)
    with pytest.raises(ModelError, match=r"damaged\.keras"):
        profile.of_file(damaged)


@pytest.mark.parametrize("part", ["config.json", "model.weights.h5"])
def test_damage_that_the_archive_does_not_notice_is_no_other_error(
    path: Path, tmp_path: Path, part: str
) -> None:
    with zipfile.ZipFile(path) as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    rng, refused = np.random.default_rng(0), 0
    for _ in range(30):
        damaged = bytearray(parts[part])
        for place in rng.integers(0, len(damaged), 3):
            damaged[place] ^= 1 << rng.integers(8)
        with zipfile.ZipFile(tmp_path / "damaged.keras", "w") as archive:
            for name, content in (parts | {part: bytes(damaged)}).items():
                archive.writestr(name, content)
        try:
            profile.of_file(tmp_path / "damaged.keras")
        except ModelError:
            refused += 1
    assert refused > 0 or part == "model.weights.h5"  # any bits are weights


def test_code_inside_a_model_is_not_run(tmp_path: Path) -> None:
    inputs = keras.Input((4,))
    keras.Model(inputs, layers.Lambda(lambda x: x + 1, name="lambda")(inputs)).save(
        tmp_path / "lambda.keras"
    )
    with pytest.raises(ModelError, match=r"lambda\.keras: layer .* cannot be loaded"):
        profile.of_file(tmp_path / "lambda.keras")
