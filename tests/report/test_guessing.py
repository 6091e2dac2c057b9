"""What people are told of a model that only guesses."""

from pathlib import Path

from pipeline.artifact import Artifact
from pipeline.details import Details, Guessing
from pipeline.report import guessing, verdict

FOUND: Guessing = {
    **{"hits": 23, "images": 100, "largest": 20, "needed": 31},
    **{"of": "val and test", "data": "folder:my photos"},
}  # type: ignore[typeddict-item]


def made(stage: str, **details: object) -> Artifact:
    return Artifact(
        stage=stage,
        fingerprint=stage,
        directory=Path(f"01-{stage}"),
        model_file="model.keras",
        metrics={"test_accuracy": 0.23, "size_bytes": 2048},
        details=Details(**details),
    )


def test_the_verdict_begins_with_it_and_with_the_command_that_may_help() -> None:
    said = verdict.verdict([made("search", guessing=FOUND)])
    assert said.startswith(
        "This model has learned nothing: it classifies 23 of 100 val and test images correctly "
        "(23.0%), no better than guessing: always naming the largest class is right on 20 (20.0%)"
    )
    assert "flopsmith run --recipe transfer --data 'folder:my photos'. The final model" in said


def test_a_network_from_trained_weights_is_not_sent_to_trained_weights() -> None:
    loaded = made("load", pretrained=True, new_layers=["logits"])
    said = guessing.warning([loaded, made("finetune", guessing=FOUND)])
    assert "recipe transfer" not in said
    assert "Look whether the labels are right" in said


def test_the_last_model_alone_counts() -> None:
    assert guessing.warning([made("search", guessing=FOUND), made("finetune")]) == ""
    assert guessing.warning([]) == ""
    assert "learned nothing" not in verdict.verdict([made("search", guessing=FOUND), made("prune")])
