"""A path as a data source."""

import logging
from pathlib import Path

import pytest

from pipeline.data import places
from pipeline.data.datasets import DataConfig
from pipeline.system import plugins


@pytest.mark.parametrize(
    ("given", "source"),
    [
        ("/data/photos", "folder:/data/photos"),
        ("./photos", "folder:./photos"),
        ("../photos", "folder:../photos"),
        ("~/my photos", "folder:~/my photos"),
        ("photos/", "folder:photos/"),
        ("data/photos", "folder:data/photos"),
        (".", "folder:."),
        ("digits.npz", "npz:digits.npz"),
        ("~/x.NPZ", "npz:~/x.NPZ"),
        ("digits", "digits"),
        ("tfds", "tfds"),
        ("tfds:mnist", "tfds:mnist"),
        ("folder:/data", "folder:/data"),
        ("npz:a.npz", "npz:a.npz"),
        ("cifar", "cifar"),
        ("foldr:/data", "foldr:/data"),
    ],
)
def test_a_path_gets_the_kind_that_it_is(given: str, source: str) -> None:
    assert places.sourced(given) == source


def test_the_name_of_an_existing_folder_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "digits"):
        (tmp_path / name).mkdir()
    assert places.sourced("photos") == "folder:photos"
    assert places.sourced("digits") == "digits"


@pytest.mark.parametrize("config", ["./photos", {"source": "./photos", "image_size": 32}])
def test_it_is_said_once_wherever_data_are_named(
    config: object, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "flopsmith"):
        found = DataConfig.model_validate(config)
        again = DataConfig.model_validate(found.model_dump())
    assert found.source == again.source == "folder:./photos"
    assert caplog.messages == ["data: ./photos is taken as folder:./photos"]


def test_every_source_that_needs_no_path_keeps_its_name() -> None:
    for name in plugins.names(places.SOURCES):
        assert places.sourced(name) == name
