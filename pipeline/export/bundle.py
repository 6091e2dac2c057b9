"""The bundle that a run hands over: model files, examples, pages for people, and a list of all."""

import functools
import hashlib
import io
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import artifact, targets
from pipeline.artifact import Artifact
from pipeline.context import Context
from pipeline.data.datasets import Dataset
from pipeline.data.stream import batch, calibration
from pipeline.details import Details
from pipeline.errors import ModelError, ToolError
from pipeline.export import card, requantize
from pipeline.export.requantize import Quantized
from pipeline.graph import keras_file
from pipeline.measure import answers, evaluation, robustness
from pipeline.measured import Change, DamageRow
from pipeline.report import verdict
from pipeline.system.files import write_atomic
from pipeline.tflite import convert, metadata, metadata_writer, parity, scoring, write
from pipeline.tflite.classifier import Runner
from pipeline.tflite.metadata_writer import About
from pipeline.tflite.read import Graph, read

MODEL, EDGETPU, FLOAT = "model.tflite", "model_edgetpu.tflite", "model_float.tflite"
GOLDEN, CARD, DEMO, MANIFEST = "golden.npz", "model_card.md", "demo.html", "MANIFEST.json"
EXAMPLES = 16  # test images in golden.npz
DAMAGING, FEWEST = 20.0, 50  # seconds for damaged images, and the fewest images
TPU = "edgetpu"  # the target that gets a file of its own
log = logging.getLogger("flopsmith")


@dataclass
class Bundle:
    """The files of one export, as they are added one by one, and what the report says of them."""

    source: Artifact
    ctx: Context
    about: About
    strip: bool = True  # remove tensor names and converter notes, which no runtime reads
    tell: bool = True  # put labels and normalization into the models, for image libraries
    files: dict[str, bytes] = field(default_factory=dict)  # by name
    left_out: dict[str, str] = field(default_factory=dict)  # why a file is missing, by its name
    found: dict[str, Any] = field(default_factory=dict)  # other fields of the details

    @property
    def details(self) -> Details:
        """What the report says of the files that there are by now."""
        return Details(left_out=self.left_out, **self.found)

    @functools.cached_property
    def graph(self) -> Graph:
        """`model.tflite`, once it has been added."""
        return read(self.files[MODEL])

    def add_models(self, calibration_images: int) -> bytes:
        """Add the model for each place.

        Args:
            calibration_images: Train images that set the ranges of a model that is not yet int8.

        Returns:
            `model.tflite` with the names of its tensors.
        """
        keras_model = floating(self.source)
        path = None if keras_model is None else keras_model.model_path
        quantized: Quantized | None = None
        if self.source.model_path is not None and self.source.model_path.suffix == ".tflite":
            named = self.source.model_path.read_bytes()
            try:
                quantized = requantize.earlier(self.source, self.ctx.data, self.ctx.seed)
            except ModelError as error:
                self._leave_out(EDGETPU, error)
        else:
            quantized = self._quantize_after_training(calibration_images)
            named = quantized.content
        self.files[MODEL] = self._finished(named)
        if quantized is not None:
            self._add_edgetpu(quantized, path)
        if path is None:
            self._leave_out(FLOAT, "no stage left a Keras model")
        else:
            self.files[FLOAT] = self._finished(convert.convert_float_file(path))
        return named

    def _quantize_after_training(self, count: int) -> Quantized:
        model = keras_file.load(self.source.model_path)
        saved_model = self.ctx.directory / "saved_model"
        convert.save_float(model, saved_model)
        images = calibration(self.ctx.data.train, count, self.ctx.seed)
        content = convert.convert_int8(saved_model, convert.calibration(images))
        reference = parity.floating(model)
        self.found["parity"] = parity.checked(content, reference, self.ctx.data, self.ctx.seed)
        return Quantized(content, saved_model, "ptq", images)

    def _add_edgetpu(self, quantized: Quantized, model: Path | None) -> None:
        """Add the network for the Edge TPU; tensors keep names, which its compiler logs."""
        try:
            content = requantize.for_edgetpu(quantized, model)
        except ModelError as error:
            self._leave_out(EDGETPU, error)
            return
        made = Runner(content, threads=2)
        shipped = Runner(self.files[MODEL], threads=2, graph=self.graph)
        same = requantize.agreement(made, shipped, self.ctx.data.val)
        self.found["edgetpu"] = {**same, "method": quantized.method}
        if quantized.method == "qat" and same["agreement"] < 1:
            log.warning(
                "export: %s names another class than %s on %.2f%% of the val images",
                *(EDGETPU, MODEL, 100 * (1 - same["agreement"])),
            )
        self.files[EDGETPU] = metadata_writer.with_form(content, self.ctx.data.form)

    def _finished(self, content: bytes) -> bytes:
        content = write.stripped(content) if self.strip else content
        if not self.tell:
            return metadata_writer.with_form(content, self.ctx.data.form)
        return metadata_writer.put(
            content, self.about, self.ctx.data.class_names, self.ctx.data.form
        )

    def add_examples(self) -> None:
        """Add the names of the classes, and images with the scores that they must get."""
        names = "".join(f"{name}\n" for name in self.ctx.data.class_names)
        self.files[metadata.LABELS] = names.encode()
        runner = Runner(self.files[MODEL], graph=self.graph)
        self.files[GOLDEN] = golden(runner, self.ctx.data, self.ctx.seed)

    def compare(self, made: Artifact) -> Artifact:
        """Say what became of the test images on the way from the models that this one came from."""
        before = self.ctx.earlier()
        compared = {"change": verdict.base([*before, made])[0]}
        compared |= {"change_from_search": verdict.winner(before)[0]}
        after, found = answers.load(made.directory), dict[str, Change]()
        for name, first in compared.items():
            if first is None or first.directory == made.directory:
                continue
            if after and (old := answers.load(first.directory)):
                found[name] = evaluation.change(old, after, first.directory.name)
        return made.telling(**found) if found else made

    def damage(self, most: int) -> list[DamageRow]:
        """Measure the float and the int8 file on damaged test images.

        Args:
            most: Images; fewer, if that takes longer than some seconds.
        """
        if not most:
            return []
        names = {"float": FLOAT, "int8": MODEL}
        runners = {
            name: Runner(self.files[file], threads=2)
            for name, file in names.items()
            if file in self.files
        }
        count = min(most, len(self.ctx.data.test))
        seconds = sum(runner.latency_ms(5) for runner in runners.values()) / 1e3
        count = min(count, max(FEWEST, int(DAMAGING / (robustness.ROWS * seconds))))
        images, labels = batch(self.ctx.data.test, count, self.ctx.seed)
        models = {name: runner.scores for name, runner in runners.items()}
        return robustness.measured(list(images), labels, models)

    def ask_targets(self) -> None:
        """Note the verdict of each target of the recipe, and of the Edge TPU if it has a file."""
        verdicts = []
        for name in dict.fromkeys((*self.ctx.targets, TPU)):
            own = name == TPU and EDGETPU in self.files
            file = EDGETPU if own else MODEL
            if not own and name not in self.ctx.targets:
                continue
            try:
                verdict = targets.check(name, self.files[file])
            except ToolError as error:
                if name in self.ctx.targets:
                    raise
                log.warning("export: %s was not asked: %s", name, error)
                continue
            verdicts.append({"file": file, **verdict.as_json()})
        self.found["targets"] = verdicts

    def add_card(self, made: Artifact) -> None:
        """Add the model card; `made` has the numbers."""
        facts = card.Facts(
            about=self.about,
            data=self.ctx.data,
            budget=self.ctx.budget,
            graph=self.graph,
            files={name: len(content) for name, content in self.files.items()},
            scores=scoring.kind(self.graph, Runner(self.files[MODEL], graph=self.graph)),
        )
        self.files[CARD] = card.render([*self.ctx.earlier(), made], facts).encode()

    def add_demo(self, made: Artifact) -> None:
        """Add a page that runs the model, if what it is made of is installed; `made` is judged."""
        from pipeline.targets.browser.page import Sample, demo

        model, names = self.files[MODEL], list(self.ctx.data.class_names)
        images, labels = batch(self.ctx.data.test, EXAMPLES, self.ctx.seed)
        samples = [Sample(names[label], image) for image, label in zip(images, labels, strict=True)]
        said = made.details.evaluation
        unknown = said.get("unknown") if said else None
        least = unknown["threshold"] if unknown else None
        try:
            page = demo(model, names, self.about.name, samples, least)
        except (ModelError, ToolError) as error:
            self._leave_out(DEMO, error)
        else:
            self.files[DEMO] = page.encode()

    def _leave_out(self, name: str, reason: object) -> None:
        log.info("export: no %s: %s", name, reason)
        self.left_out[name] = str(reason)

    def write(self) -> None:
        """Write every file there is by now, each whole or not at all."""
        for name, content in self.files.items():
            write_atomic(self.ctx.directory / name, content)


def floating(source: Artifact) -> Artifact | None:
    """The artifact with the last Keras model on the way to this one; perhaps itself."""
    found: Artifact | None = source
    while found is not None and not (found.model_file or "").endswith(".keras"):
        parent = found.parent
        found = artifact.load(found.directory.parent / parent) if parent else None
    return found


def golden(runner: Runner, dataset: Dataset, seed: int) -> bytes:
    """Test images and the scores that LiteRT gives them, as an `.npz`.

    `images` uint8 [N, H, W, C], `labels` int32 [N], `scores` float32 [N, K] and `raw` [N, K], the
    output as the file has it; K is 1 where two classes have one score.
    """
    images, labels = batch(dataset.test, EXAMPLES, seed)
    whole = io.BytesIO()
    scores, raw = runner.scores(images), runner.outputs(images)
    np.savez_compressed(whole, images=images, labels=labels, scores=scores, raw=raw)
    return whole.getvalue()


def manifest(files: Mapping[str, bytes]) -> str:
    """SHA-256 and bytes of every file, by name."""
    rows = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in sorted(files.items())
    }
    return json.dumps({"files": rows}, indent=1) + "\n"
