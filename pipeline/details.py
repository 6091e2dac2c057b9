"""What a stage hands on besides its model: every key of `details` in `artifact.json`.

The fields of `Details` are grouped by who sets them; later stages, the report and the model card
read them. A key that is not declared here is an error, so that no decision hangs on a word that
only two files know.
"""

from typing import Any, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

# pydantic cannot read the rows of `typing.TypedDict` before Python 3.12
from typing_extensions import TypedDict

from pipeline.measured import Change, DamageRow, Evaluation, OperatorRow

# `pipeline.objective` defines them
# of quantized weights
Precision = Literal["auto", "mixed", "int8", "int4", "ternary", "binary", "int16x8"]
Objective = Literal["accuracy", "balanced_accuracy", "macro_f1", "auc"]
Curves = dict[str, list[float | None]]  # "train/loss": a value per epoch, None where not finite


class LedgerRow(TypedDict):
    """What one kernel of the stage's model holds; `pipeline.measure.ledger` writes it."""

    layer: str  # its name in Keras
    kind: str  # class of the layer, or of a `.tflite` the kind of the operator
    weights: int  # how many there are
    sparsity: float  # fraction of zeros, 0..1
    distinct: int  # how many different values
    dtypes: dict[str, str]  # types of the layer's constants, by role: "kernel", "bias"
    sizes: NotRequired[int]  # of a `.tflite`: how many different absolute values
    also: NotRequired[str]  # of a `.tflite`: other tensors' names, until the layer's is found


class KernelRow(TypedDict):
    """What a stage did to one layer, or the reason why it did nothing."""

    layer: str
    kind: str
    treatment: str  # "pruned", "clustered", "quantized", "skipped" ...
    reason: NotRequired[str | None]
    weights: NotRequired[int]
    sparsity: NotRequired[float]
    distinct: NotRequired[int]
    channels_before: NotRequired[int | None]
    channels_after: NotRequired[int]
    snr_db: NotRequired[float | None]  # of its int8 result against float


# scores on the test images of one class; a class statement could have no field named `class`
ClassRow = TypedDict(
    "ClassRow",
    {
        "class": str,
        "test_accuracy": float | None,  # its recall
        "test_images": NotRequired[int],
        "precision": NotRequired[float | None],
        "f1": NotRequired[float | None],
    },
)


class ScoreRow(TypedDict):
    """One score of the final model on test, with its interval of 95%."""

    score: str  # "accuracy", "balanced_accuracy", "macro_f1" or "auc"
    value: float
    low: float
    high: float


class AttemptRow(TypedDict):
    """One run of a stage within the guardrail."""

    settings: dict[str, Any]  # those that differ from what the recipe asks for
    holds: bool  # whether the objective on val is at or above the floor
    floor: float
    val_accuracy: float
    score: NotRequired[float]  # the objective, where it is not accuracy
    seconds: float


class TrialRow(TypedDict, total=False):
    """One trial of a search; costs and `int8_` numbers only where they were asked for."""

    trial_id: str
    parent: str | None  # the trial whose training this one continues
    status: str  # "COMPLETED" or "FAILED"
    family: str
    arch: dict[str, Any]
    settings: dict[str, Any]
    directory: str
    first_epoch: int
    epochs: int
    epoch_images: int | None
    macs: int
    flops: int
    params: int
    peak_memory_bytes: int
    tflite_bytes: int
    latency_ms: float
    val_accuracy: float | None
    val_balanced_accuracy: float | None  # this and the next two where they are the objective
    val_macro_f1: float | None
    val_auc: float | None
    val_loss: float | None
    history: Curves
    error: str | None
    seconds: float
    fit_seconds: float
    epoch_seconds: float
    slice_seconds: float
    memory_bytes: int | None
    int8_val_accuracy: float
    int8_val_balanced_accuracy: float
    int8_val_macro_f1: float
    int8_val_auc: float
    int8_bytes: int
    int8_latency_ms: float
    int8_error: str | None


class Parity(TypedDict):
    """How a `.tflite` compares with the Keras model; `pipeline.tflite.parity` defines it."""

    images: int
    agreement: float  # fraction of images with the same class
    contradicted: float  # fraction whose class changed although its score was clearly higher
    worst_difference: float  # of one score
    first_parting: dict[str, Any] | None  # first layer that computes something else
    compared_with: str  # "simulation" or "float"


class Given(TypedDict):
    """A trained network as it came, at its own input, where the run has images of another size."""

    image_shape: list[int]  # (H, W, C)
    pixels: str  # the values that it takes, by name
    val_accuracy: float
    test_accuracy: float
    scores: NotRequired[dict[str, float]]  # other objectives: "val_macro_f1", "test_macro_f1" ...


class Agreement(TypedDict):
    """How the file for the Edge TPU compares with `model.tflite`."""

    images: int
    agreement: float  # fraction of val images with the same class
    method: str  # how the network was quantized: "qat" or "ptq"


class Guessing(TypedDict):
    """How a model that only guesses compares with naming the largest class always."""

    hits: int  # images that the model classifies correctly
    images: int  # all of them
    largest: int  # those of the largest class
    needed: int  # hits from which on it would be more than luck
    of: str  # which images: "val and test"
    data: str  # the data set, as a recipe names it


class Details(BaseModel):
    """What a stage hands on besides its model; a field that the stage does not set is empty.

    `artifact.json` has the fields that were set and no others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    # set by pipeline.runner, of every model
    per_class: list[ClassRow] = []
    ledger: list[LedgerRow] = []  # what every kernel holds
    objective: Objective = "accuracy"  # the score that choices on val went by
    scores: list[ScoreRow] = []  # all scores on test
    guessing: Guessing | None = None  # None: the model has learned something
    evaluation: Evaluation | None = None
    change: Change | None = None  # against the model that the final one is compared with
    change_from_search: Change | None = None  # against the winner of the search

    # in what the model is worse than what it was made from, more than is allowed; None: in nothing
    shortfall: str | None = None

    # set by pipeline.guardrail, of every stage that compresses
    attempts: list[AttemptRow] = []
    passed_on: str | None = None  # why the stage's input is its output; None: it is not

    # set by every stage that trains or changes layers
    history: Curves = {}
    layers: list[KernelRow] = []
    note: str | None = None  # what the report says of the stage, in sentences

    # set by search
    trials: list[TrialRow] = []
    winner: str | None = None  # trial_id
    finalists: list[str] = []  # trial_id, the best first
    front: list[str] = []  # trial_id of those that no other beats in accuracy and cost
    against: str | None = None  # the cost that was weighed against accuracy
    search_seconds: float | None = None
    admitted: int | None = None  # how many networks drawn fit the budget
    budget: dict[str, float] = {}

    # by search, how many networks drawn did not fit; by quantize, why not a method, by its name
    refused: int | dict[str, str] | None = None

    # set by load and pretrain
    source: str | None = None  # the trained or published network, or the data learnt from
    pretrained: bool = False  # whether layers were trained on other images
    new_layers: list[str] | None = None  # layers that have not been trained; None: not known
    given: Given | None = None  # None: it was given images of its own size

    # set by prune
    sensitivity: dict[str, list[tuple[float, float]]] = {}  # (sparsity, val accuracy) by kernel
    cycles: dict[str, list[int]] = {}  # of a product on balanced lanes, by kernel

    # set by slim and factorize
    flops_before: int | None = None
    flops_after: int | None = None
    flops_target: int | None = None
    removed_channels: list[str] = []  # whose patches are in `removed.png`, a row each

    # set by quantize
    method: Literal["qat", "ptq"] | None = None
    precision: Precision = "int8"
    val_accuracy: dict[str, float] = {}  # by method
    calibration_images: int | None = None
    calibration_sha256: str | None = None  # of these images; None: there is nothing to convert

    # set by quantize and export
    parity: Parity | None = None

    # set by export
    robustness: list[DamageRow] = []
    operators: list[OperatorRow] = []
    left_out: dict[str, str] = {}  # why a file is missing, by its name
    edgetpu: Agreement | None = None
    # a verdict per target, as `pipeline.targets` writes it; None: no export asked any target
    targets: list[dict[str, Any]] | None = None

    @property
    def winning(self) -> TrialRow | None:
        """The trial that won the search; None: there was no search."""
        return next((row for row in self.trials if row["trial_id"] == self.winner), None)

    @model_serializer(mode="wrap")
    def _fields_that_were_set(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in write(self).items() if key in self.model_fields_set}
