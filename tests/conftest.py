"""What tests share: one cache of decoded images, a handful of images, empty MLflow stores."""

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.data import datasets
from pipeline.data.datasets import DataConfig, Dataset, Split

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")


def pytest_collection_finish() -> None:
    """Leave a million objects of imported libraries out of every later garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _one_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep decoded images out of the user's cache, and decode the digits once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("xdg")))
        yield


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """The built-in data set."""
    return datasets.load(DataConfig(), seed=0)


@pytest.fixture(scope="session")
def few_digits(digits: Dataset) -> Dataset:
    """Few enough digits to train on within a second."""

    def some(split: Split, count: int) -> Split:
        return Split(split.images, split.labels[:count], split.index[:count])

    parts = {"train": some(digits.train, 96), "val": some(digits.val, 48)}
    return Dataset(
        "few", digits.class_names, **parts, test=some(digits.test, 48), fingerprint="few"
    )


@pytest.fixture(scope="session")
def squares() -> Dataset:
    """Black and white squares, classes 0 and 1: what a network of one weight can tell apart."""
    labels = np.array([0, 1] * 8, np.int32)
    images = np.broadcast_to((labels * 255).astype(np.uint8)[:, None, None, None], (16, 4, 4, 1))
    rows = np.arange(16)
    parts = {key: Split(images, labels, rows) for key in ("train", "val", "test")}
    return Dataset("squares", ("black", "white"), **parts, fingerprint="squares")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs; making one takes seconds, copying it does not."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    folder = tmp_path_factory.mktemp("store")
    SqlAlchemyStore(f"sqlite:///{folder / 'mlflow.db'}", str(folder / "artifacts"))
    return folder / "mlflow.db"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Path]:
    """Work in an empty directory with an MLflow store of its own."""
    place = tmp_path_factory.mktemp("workplace")
    shutil.copyfile(empty_store, place / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place / 'mlflow.db'}")
        _forget_mlflow(patch)
        yield place


@pytest.fixture
def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let MLflow know as little as at the start of a process."""
    _forget_mlflow(monkeypatch)


def _forget_mlflow(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("mlflow.tracking.fluent._active_experiment_id", None)
    patch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", None)
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        patch.setenv(name, "")  # so that what MLflow sets itself is undone as well
        patch.delenv(name)
