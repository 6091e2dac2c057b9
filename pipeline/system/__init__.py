"""The machine: files, child processes, progress, quiet."""
