"""All that is said of a classifier's answers on test, from the scores of one pass over the images.

What an app needs besides, a temperature and a threshold, is fitted on val.
"""

from collections.abc import Sequence

from pipeline.details import ClassRow
from pipeline.graph import scores as score
from pipeline.measure import answers, calibration, confusion
from pipeline.measure.answers import Answers
from pipeline.measured import Change, Evaluation
from pipeline.objective import Labels

SHOWN = 12  # images that are named in each list


def evaluated(
    test: tuple[Labels, score.Scores],
    val: tuple[Labels, score.Scores] | None,
    class_names: Sequence[str],
) -> tuple[Evaluation, list[ClassRow], Answers]:
    """Describe the answers of a classifier.

    Args:
        test: Labels `[N]` and scores `[N, K]` of the test images.
        val: Those of the val images; None: neither temperature nor threshold are fitted.
        class_names: Names of the classes, `K`.

    Returns:
        What is said of all images, of each class, and of each image.
    """
    labels, scores = test
    found = Answers.of(labels, scores)
    counts = confusion.table(labels, found.named, len(class_names))
    bins = calibration.reliability(found.sure, found.hits)
    said: Evaluation = {
        "images": len(labels),
        "confusion": confusion.sparse(counts),
        "reliability": bins,
        "calibration_error": calibration.expected_error(bins),
        "hardest": answers.hardest(found, SHOWN),
        "surest_mistakes": answers.surest_mistakes(found, SHOWN),
    }
    if val is not None:
        hot = calibration.temperature(*val)
        cooled = calibration.tempered(scores, hot).max(axis=-1)
        after = calibration.reliability(cooled, found.hits)
        said["temperature"] = hot
        said["tempered_error"] = calibration.expected_error(after)
        said["unknown"] = calibration.threshold(Answers.of(*val).sure, found.sure)
    return said, confusion.per_class(counts, class_names), found


def change(before: Answers, after: Answers, compared_with: str) -> Change:
    """What became of the images on the way from one model to another.

    Args:
        before: Answers of the first model.
        after: Those of the second, about the same images.
        compared_with: What the first is called.
    """
    places = answers.changed(before, after)
    was, now = before.hits[places], after.hits[places]
    return {
        "compared_with": compared_with,
        "images": len(after.labels),
        "changed": len(places),
        "lost": int((was & ~now).sum()),
        "won": int((~was & now).sum()),
        "before": before.rows(places[:SHOWN]),
        "after": after.rows(places[:SHOWN]),
    }
