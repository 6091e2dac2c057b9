"""What a run says of the places that its model is for."""

from typing import Any

from support.report_run import FLOAT, INT8, artifact

from pipeline.report import verdict

MAPPED = {"index": 0, "name": "CONV_2D", "placement": "npu", "reason": None}
LEFT = {"index": 1, "name": "RELU", "placement": "cpu", "reason": "no room"}
LOST = {"index": 0, "name": "CONV_2D", "placement": "none", "reason": "the file is refused"}


def found(*operators: dict[str, Any], **more: Any) -> dict[str, Any]:
    mapped = sum(op["reason"] is None for op in operators)
    fixed = {"target": "ethos_u", "runs": True, "refused": None, "mapped": mapped}
    return {**fixed, "total": len(operators), "operators": list(operators), **more}


def test_a_model_that_lands_wholly_says_where_and_how_fast() -> None:
    one = found(MAPPED, MAPPED, inference_ms=1.3)
    assert verdict.lands(one)
    assert verdict.landing(one) == "ethos_u: 2 of 2 operators on the NPU, 1.300 ms."


def test_the_first_operator_that_is_left_has_its_reason_and_the_rest_are_counted() -> None:
    one = found(MAPPED, LEFT, {**LEFT, "index": 2})
    assert not verdict.lands(one)
    expected = "ethos_u: 1 of 3 operators on the NPU. Not RELU 1: no room; and 1 more."
    assert verdict.landing(one) == expected


def test_what_fast_kernels_of_the_cpu_leave_is_still_where_it_is_to_run() -> None:
    one = found({**MAPPED, "placement": "xnnpack"}, LEFT, target="mobile_cpu")
    assert verdict.lands(one)
    expected = "mobile_cpu: 1 of 2 operators on XNNPACK. Not RELU 1: no room."
    assert verdict.landing(one) == expected


def test_what_converts_input_and_output_is_no_fault() -> None:
    ends = [{**LEFT, "index": i, "name": "QUANTIZE"} for i in (0, 2)]
    fast = {**MAPPED, "placement": "xnnpack"}
    one = found(ends[0], fast, ends[1], target="mobile_cpu")
    expected = "mobile_cpu: 1 of 3 operators on XNNPACK, and 2 beside it that convert numbers."
    assert verdict.landing(one) == expected
    other = found(ends[0], fast, LEFT, ends[1], target="mobile_cpu")
    expected = "mobile_cpu: 1 of 4 operators on XNNPACK. Not RELU 1: no room."
    assert verdict.landing(other) == expected


def test_a_model_of_which_nothing_is_mapped_has_no_time_there() -> None:
    expected = "ethos_u: 0 of 1 operators on it. Not RELU 1: no room."
    assert verdict.landing(found(LEFT, inference_ms=0.0)) == expected


def test_a_refused_model_does_not_run_there() -> None:
    one = found(LOST, runs=False, refused="Failed to parse TFLite file.")
    assert not verdict.lands(one)
    assert verdict.landing(one) == "It does not run on ethos_u: Failed to parse TFLite file."


def test_a_file_of_its_own_is_named() -> None:
    one = found({**MAPPED, "placement": "tpu"}, target="edgetpu", file="model_edgetpu.tflite")
    expected = "edgetpu (model_edgetpu.tflite): 1 of 1 operators on the TPU."
    assert verdict.landing(one) == expected
    assert verdict.landing({**one, "file": "model.tflite"}).startswith("edgetpu: ")


def test_the_verdict_of_a_run_ends_with_every_target_of_the_last_stage_that_asked() -> None:
    early = artifact("01-export", INT8, targets=[found(LEFT)])
    late = artifact("02-export", INT8, targets=[found(MAPPED), found(MAPPED, target="edgetpu")])
    said = verdict.verdict([early, late, artifact("03-report")])
    assert said.endswith(
        " ethos_u: 1 of 1 operators on the NPU. edgetpu: 1 of 1 operators on the NPU."
    )
    assert "RELU" not in said


def test_a_model_that_was_given_is_what_the_final_one_is_compared_with() -> None:
    final = artifact("02-quantize", INT8)
    said = verdict.verdict([artifact("01-load", FLOAT, new_layers=[]), final])
    assert "Compared with the model given, 01-load, test accuracy changes by" in said
    assert "3.63 for file bytes" in said


def test_a_network_that_is_not_trained_yet_is_compared_with_nothing() -> None:
    final = artifact("02-quantize", INT8)
    said = verdict.verdict([artifact("01-load", FLOAT, new_layers=["logits"]), final])
    assert "Compared" not in said
