"""The report of a run: page, plots and the verdict in words."""
