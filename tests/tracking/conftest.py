"""An MLflow store, and a run in it."""

from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from pipeline.tracking import runs


@pytest.fixture(scope="module")
def client(workplace: Path) -> MlflowClient:
    return MlflowClient()


@pytest.fixture
def parent(client: MlflowClient) -> Any:
    with runs.start("mobile") as run:
        yield run
