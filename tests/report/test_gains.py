"""The short table of a report: the final model beside what it came from."""

from pathlib import Path
from typing import Any

from pipeline.artifact import Artifact
from pipeline.details import Details
from pipeline.report import gains


def stage(name: str, accuracy: float, **more: Any) -> Artifact:
    metrics = {"test_accuracy": accuracy, "size_bytes": more.pop("size", 2048.0)}
    return Artifact(
        stage=name.partition("-")[2],
        fingerprint="x",
        directory=Path("runs") / name,
        model_file="model.keras",
        metrics=metrics,
        details=Details(**more),
    )


def pair(compared_with: str, won: int, lost: int) -> Any:
    return {
        "compared_with": compared_with,
        "images": 100,
        "changed": won + lost,
        "won": won,
        "lost": lost,
        "before": [],
        "after": [],
    }


def test_each_model_is_compared_by_its_own_images() -> None:
    searched, tuned = stage("01-search", 0.90, size=8192.0), stage("02-finetune", 0.95)
    final = stage(
        "03-export",
        0.94,
        size=1024.0,
        change=pair("02-finetune", 1, 2),
        change_from_search=pair("01-search", 6, 2),
    )
    own, base, winner = gains.table([searched, tuned, final])
    assert own[0] == "03-export, final model"
    assert own[1:5] == ["94.00", "\N{EN DASH}", "\N{EN DASH}", "1.0 KiB"]
    assert base[0] == "02-finetune, fine-tuned float model"
    # (1 - 2) / 100, and 1.96 sqrt(3 - 1/100) / 100
    assert base[3] == "\N{MINUS SIGN}1.00 (95% interval \N{MINUS SIGN}4.4 to +2.4)"
    # (6 - 2) / 100, and 1.96 sqrt(8 - 16/100) / 100
    assert winner[3] == "+4.00 (95% interval \N{MINUS SIGN}1.5 to +9.5)"
    assert winner[4] == "8.0 KiB"


def test_a_model_that_was_given_has_the_accuracy_it_came_with() -> None:
    came = {
        "image_shape": [9, 9, 3],
        "pixels": "0..255",
        "val_accuracy": 0.9,
        "test_accuracy": 0.97,
    }
    loaded = stage("01-load", 0.93, new_layers=[], given=came)
    (_, given) = gains.table([loaded, stage("02-export", 0.94)])
    assert given[0] == "01-load, model given"
    assert (given[1], given[3]) == ("97.00", "\N{MINUS SIGN}3.00")


def test_a_run_without_a_measured_model_has_no_table() -> None:
    assert gains.table([]) == []
