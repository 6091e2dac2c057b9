"""MLflow: runs, the registry of models, serving."""
