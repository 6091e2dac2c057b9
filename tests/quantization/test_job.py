"""Every way to quantize is called alike, and answers alike."""

import inspect
from types import ModuleType
from typing import get_type_hints

import pytest

from pipeline.quantization import native, ptq
from pipeline.quantization.job import Form, Job, Quantized
from pipeline.quantization.tfmot import engine


@pytest.mark.parametrize("way", [native, ptq, engine], ids=lambda way: way.__name__)
def test_a_way_quantizes_a_job_and_foresees_a_refusal(way: ModuleType) -> None:
    assert [*inspect.signature(way.quantize).parameters] == ["model", "job"]
    assert [*inspect.signature(way.foresee).parameters] == ["model", "form"]
    hints = get_type_hints(way.quantize)
    assert (hints["job"], hints["return"]) == (Job, Quantized)
    assert get_type_hints(way.foresee)["form"] is Form


def test_a_form_is_8_bits_unless_asked_otherwise() -> None:
    form = Form()
    assert (form.weights, form.activations, form.bits) == ("int8", "int8", None)
    assert not form.progressive
