"""How far the scores of a model can be taken as probabilities, in sentences."""

from pipeline.measured import Evaluation


def text(found: Evaluation | None) -> str:
    """What an app should know of the scores; empty where it was not measured."""
    if found is None:
        return ""
    error = 100 * found["calibration_error"]
    said = f"On test images, the highest score differs from the accuracy by {error:.1f} points"
    if "temperature" in found:
        said += (
            f" on average; with each score to the power of 1 / {found['temperature']:.2f}, scaled "
            f"to sum to one, by {100 * found['tempered_error']:.1f} (fitted on validation images)"
        )
    else:
        said += " on average"
    said += "."
    if "unknown" in found:
        least, kept = found["unknown"]["threshold"], found["unknown"]["kept"]
        said += (
            f" An image whose highest score is below {least:.3f} may be of none of the classes: "
            f"{kept:.1%} of the test images are above (95% of the validation images)."
        )
    return said
