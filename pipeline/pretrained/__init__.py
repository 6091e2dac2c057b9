"""Networks that were trained before: where their weights are from, and how they fit other data."""
