"""What the chains train on."""

import pytest

from pipeline.data.datasets import Dataset, Split


@pytest.fixture(scope="session")
def data(digits: Dataset) -> Dataset:
    """Enough digits for a network to tell all classes apart after some seconds."""

    def some(split: Split, count: int) -> Split:
        return Split(split.images, split.labels[:count], split.index[:count])

    parts = {"train": some(digits.train, 256), "val": some(digits.val, 64)}
    test = some(digits.test, 200)
    return Dataset("some", digits.class_names, **parts, test=test, fingerprint="some")
