"""The precisions of the stage `quantize`: by which methods each is made, and how weights round."""

from typing import Any, Literal

from pipeline.details import Precision

Weights = Literal[
    "int8",
    "int4",
    "ternary",
    "ternary_trained",
    "binary",
    "binary_connect",
    "binary_stochastic",
    "dorefa_1",
    "dorefa_2",
]
Activations = Literal["int8", "int16", "bnn", "xnor", "dorefa"]  # of the last three, no file
Rule = Literal["scaled", "trained", "connect", "stochastic"]
FEW = ("ternary", "binary")  # normalizations have to follow what they make of a network
MIXED = ("auto", "mixed")
COARSE = "so few bits cost too much accuracy without training"
FINE = "training does not simulate activations of 16 bits"
WHY_NOT = {"ptq": COARSE, "qat": FINE}  # a method does not make a precision
RULES: dict[tuple[str, str], Weights] = {  # where the rule is not the usual one
    ("ternary", "trained"): "ternary_trained",
    ("binary", "connect"): "binary_connect",
    ("binary", "stochastic"): "binary_stochastic",
}
LOW = ("bnn", "xnor", "dorefa")  # activations of one or two bits
INSTEAD = {  # of LOW
    "bnn": "binary with rule: connect",
    "xnor": "binary",
    "dorefa": "binary, ternary or int4",
}
USUAL: dict[str, Weights] = {"int4": "int4", "ternary": "ternary", "binary": "binary"}


def supported(precision: Any) -> Any:
    """Pass on a precision, unless it is the name of a method that no file can hold.

    Raises:
        ValueError: says what to use instead.

    >>> supported("int4")
    'int4'
    """
    if precision in INSTEAD:
        raise ValueError(refusal(precision))
    return precision


def refusal(way: str) -> str:
    """Why no file can have the activations of a method, and what to use instead."""
    return (
        f"{way} needs activations of one or two bits, which no runtime of .tflite files computes "
        f"with. Take {INSTEAD[way]}, whose weights have as few bits"
    )


def methods(precision: Precision) -> tuple[str, ...]:
    """The methods that make a precision, the better one first."""
    return {"int8": ("qat", "ptq"), "int16x8": ("ptq",)}.get(precision, ("qat",))


def weights(precision: Precision, rule: Rule) -> Weights:
    """How weights are rounded, in the words of `pipeline.quantization.rounding`.

    Raises:
        ValueError: the precision has no such rule.

    >>> weights("binary", "connect"), weights("mixed", "scaled")
    ('binary_connect', 'int8')
    """
    if rule != "scaled" and (precision, rule) not in RULES:
        known = ", ".join(f"{precision} has {rule}" for precision, rule in RULES)
        raise ValueError(
            f"precision {precision} has no such rule. Received: rule={rule}. Leave it out: {known}"
        )
    return RULES.get((precision, rule), USUAL.get(precision, "int8"))
