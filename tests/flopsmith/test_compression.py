"""Compression from Python: clear errors, a new model, the given one as it was."""

from pathlib import Path

import pytest
from support.classifier import classifier

import flopsmith
from flopsmith.compression import TfliteModel
from pipeline.data.datasets import Dataset
from pipeline.errors import RecipeError


@pytest.mark.parametrize("function", ["prune", "cluster", "quantize"])
def test_an_unknown_setting_names_the_known(function: str, squares: Dataset) -> None:
    with pytest.raises(RecipeError, match=rf"{function}.*'epohs'.*'epochs'.*Known: .*epochs"):
        getattr(flopsmith, function)(classifier(), squares, epohs=1)


def test_quantize_returns_a_file_that_is_as_accurate(squares: Dataset, tmp_path: Path) -> None:
    model = classifier()
    before = model.get_weights()
    made = flopsmith.quantize(model, squares, method="ptq")
    assert isinstance(made, TfliteModel)
    assert made.metrics["test_accuracy"] == 1.0
    assert made.details["quantize"]["method"] == "ptq"
    assert made.save(tmp_path / "deep/model.tflite").read_bytes() == made.content
    assert all((one == two).all() for one, two in zip(before, model.get_weights(), strict=True))
