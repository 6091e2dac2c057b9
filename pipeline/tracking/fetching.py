"""Models and files that MLflow has, copied to a directory."""

import os
from pathlib import Path

import mlflow
import mlflow.artifacts
from mlflow.exceptions import MlflowException

from pipeline.errors import ModelError
from pipeline.tracking.store import STORE, URI


def download(uri: str, directory: Path) -> Path:
    """Copy a logged model or file, `runs:/ID/PATH` or `models:/NAME/VERSION`, to a directory.

    Raises:
        ModelError: MLflow has none there, or cannot be reached.
    """
    mlflow.set_tracking_uri(os.environ.get(URI) or STORE)
    try:
        return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(directory)))
    except (MlflowException, OSError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(
            f"MLflow has no such model. Received: mlflow:{uri} ({reason[:200]}), in "
            f"{mlflow.get_tracking_uri()}. Set MLFLOW_TRACKING_URI to the store that has it"
        ) from error
