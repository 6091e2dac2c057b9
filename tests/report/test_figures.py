"""The plots of a run, and what they show in words."""

from support.report_run import FLOAT, HISTORY, INT8, artifact

from pipeline.report import figures


def test_the_journey_names_its_ends() -> None:
    found = figures.journey([artifact("01-finetune", FLOAT), artifact("02-export", INT8)])
    assert found is not None
    assert "from 250,348 bytes after 01-finetune to 68,904 after 02-export" in found["alt"]
    assert "67 KiB" in found["svg"]
    assert figures.journey([artifact("01-finetune", FLOAT)]) is None


def test_a_stage_has_a_plot_for_each_quantity() -> None:
    found = figures.figures(artifact("01-finetune", FLOAT, history=HISTORY))
    assert [one["caption"].partition(" ")[0] for one in found] == ["Loss", "Accuracy"]
    assert "last: train 98.00% and val 97.90%" in found[1]["caption"]
