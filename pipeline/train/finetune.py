"""Fine-tune a network with new layers: the head alone, the head and then all, or all at once.

Source:  frozen features, Donahue et al. 2014, https://proceedings.mlr.press/v32/donahue14.html;
         the head first, Kumar et al. 2022, https://arxiv.org/abs/2202.10054; which mode for how
         many and how similar images, as in https://cs231n.github.io/transfer-learning/.
"""

import dataclasses
import hashlib
import io
import logging
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from pipeline.data.datasets import Dataset, Split
from pipeline.data.stream import stream
from pipeline.details import Objective
from pipeline.graph import structure, walk
from pipeline.graph.kinds import table
from pipeline.objective import TITLES, guessed
from pipeline.system.files import write_atomic
from pipeline.train import class_weights, linear_probe, training
from pipeline.train.checkpoint import CHECKPOINT
from pipeline.train.course import History
from pipeline.train.losses import Lessons
from pipeline.train.settings import Settings
from pipeline.train.training import Session

Mode = Literal["auto", "full", "head_then_all", "frozen"]
FEATURES = "features.npz"  # features of all images; a resumed run reads them again
FEW = 100  # images per class; with so few, a whole network is likely to overfit
SIMILAR = 0.9  # (accuracy - chance) / (1 - chance) of a head whose features suit the images
SLOW = {"old_rate": 0.1, "fix_norms": True}  # for old layers once the head is trained

log = logging.getLogger("flopsmith")


@dataclass
class FineTuning:
    """One fine-tuning; afterwards `reason` says why in this mode, and `history` has its curves."""

    model: keras.Model
    dataset: Dataset
    settings: Settings
    seed: int
    directory: Path
    new_layers: tuple[str, ...] = ()  # have random weights; if empty, the last one with a kernel
    objective: Objective = "accuracy"  # the score on val that decides
    lessons: Lessons | None = None  # for the whole model; a head alone learns from labels only
    on_epoch: training.Report | None = None
    until: float | None = None  # `time.monotonic()` by which training should end; None: no limit
    most: int | None = None  # epochs of a training that should end by then; None: all that fit
    reason: str = ""
    history: History = field(default_factory=dict)

    def run(self, mode: Mode, head_epochs: int) -> Mode:
        """Train in place; the weights of the best epoch on val of both phases are kept.

        Args:
            mode: "frozen" trains the new layers on features that are computed once;
                "head_then_all" goes on with all layers, old ones at a tenth of the rate and with
                fixed normalization; "full" trains all from the start, as the settings say;
                "auto" fits the head on the features and then chooses; other layers are trained
                from that head on.
            head_epochs: Epochs of the head alone, out of `settings.epochs`; at least one epoch
                is left for all layers. A head that can be fitted takes none in mode "auto".

        Returns:
            The mode that was used, which "auto" chose.
        """
        mode = self._run(mode, head_epochs)
        (self.directory / FEATURES).unlink(missing_ok=True)
        return mode

    def _run(self, mode: Mode, head_epochs: int) -> Mode:
        if mode == "auto" and not self.new_layers:
            self.reason = "the network has no new layers"
        if mode == "full" or self.reason:
            self._fit(self.settings, "finetune")
            return "full"
        chosen, epochs = mode, self.settings.epochs
        fitted = self._fitted() if mode == "auto" else None
        first = epochs if mode == "frozen" else max(1, min(head_epochs, epochs - 1))
        best = self._head(first) if fitted is None else fitted
        mode = self._chosen(best) if mode == "auto" else mode
        left = epochs - len(self.history.get("val/accuracy", []))
        if chosen == "frozen" or left < 1:
            return mode
        kept = self.model.get_weights()
        if mode == "frozen":
            if self._head(left) < best:
                self.model.set_weights(kept)
            return mode
        rest: dict[str, Any] = {"epochs": left}
        if mode == "head_then_all":
            _, layers = head(self.model, self.new_layers)
            rest |= {**SLOW, "new_layers": tuple(layer.name for layer in layers)}
        found = self._fit(self.settings.model_copy(update=rest), "finetune")
        if _best(found, self.settings.settle, self.objective) < best:
            log.info("finetune: no epoch was better than the head alone; its weights are kept")
            self.model.set_weights(kept)
        return mode

    def _fit(self, settings: Settings, label: str) -> History:
        """Train the whole model; resume if training was interrupted."""
        done = len(self.history.get("val/accuracy", []))
        found = training.fit(
            self.model,
            self.dataset,
            settings,
            self.seed,
            Session(
                label,
                self._counted(),
                self.directory / CHECKPOINT,
                until=self.until,
                most=self.most and max(1, self.most - done),
                objective=self.objective,
            ),
            lessons=self.lessons,
        )
        self._note(found)
        return found

    def _counted(self) -> training.Report:
        """Make the report of epochs of this phase, whose numbers follow those of the last phase."""
        done = len(self.history.get("val/accuracy", []))

        def report(epoch: int, point: dict[str, float]) -> None:
            if self.on_epoch:
                self.on_epoch(done + epoch, point)

        return report

    def _fitted(self) -> float | None:
        """Give a head of one dense layer the best weights for the features as they are.

        Returns:
            Its objective on val; None for any other head, which stays as it is.
        """
        cut, layers = head(self.model, self.new_layers)
        dense = _linear(layers, self.dataset.num_classes)
        if dense is None:
            return None
        dataset = _described(self.model, cut, self.dataset, self.directory / FEATURES)
        inputs = x = keras.Input(cut.shape[1:])
        for layer in layers[: layers.index(dense)]:
            x = layer(x)
        before = keras.Model(inputs, x)

        def sample(part: Split) -> linear_probe.Sample:
            values, labels = part.arrays()
            return linear_probe.Sample(before.predict(values, verbose=0), labels)

        probe = linear_probe.fit(
            sample(dataset.train),
            sample(dataset.val),
            self.dataset.num_classes,
            self.objective,
            class_weights.of(self.settings.class_weights, self.dataset),
        )
        dense.set_weights([probe.kernel, probe.bias])
        log.info(
            "finetune: the head, fitted to the features, has val %s %.4f",
            *(TITLES[self.objective], probe.score),
        )
        return probe.score

    def _head(self, epochs: int) -> float:
        """Train the new layers on frozen features; returns the best objective on val."""
        cut, layers = head(self.model, self.new_layers)
        dataset = _described(self.model, cut, self.dataset, self.directory / FEATURES)
        copies = [type(layer).from_config(layer.get_config()) for layer in layers]
        inputs = x = keras.Input(cut.shape[1:])
        for copy in copies:
            x = copy(x)
        alone = {"epochs": epochs, "augmentation": "none", "flip": False, "new_layers": ()}
        alone |= {"old_rate": 1.0, "layer_decay": 1.0, "fix_norms": False, "epoch_images": None}
        for copy, layer in zip(copies, layers, strict=True):
            copy.set_weights(layer.get_weights())
        model = keras.Model(inputs, x)
        with structure.kept(model):
            found = training.fit(
                model,
                dataset,
                self.settings.model_copy(update=alone),
                self.seed,
                Session("head", self._counted(), deadline=self.until, objective=self.objective),
            )
        for copy, layer in zip(copies, layers, strict=True):
            layer.set_weights(copy.get_weights())
        self._note(found)
        return _best(found, self.settings.settle, self.objective)

    def _chosen(self, score: float) -> Mode:
        """Choose by the images per class and by the objective of a head on the old features."""
        each = len(self.dataset.train) // self.dataset.num_classes
        chance = guessed(self.objective, self.dataset.val.labels)
        share = (score - chance) / max(1 - chance, 1e-9)
        few, similar = each <= FEW, share >= SIMILAR
        mode: Mode = "frozen" if few and similar else "head_then_all"
        if not few and not similar and each > 10 * FEW:
            mode = "full"
        self.reason = (
            f"{each} images per class ({'few' if few else 'enough'}); a head on the old features "
            f"reaches {score:.3f} on val (images {'similar to' if similar else 'unlike'} those "
            f"that they were learned from; guessing reaches {chance:.3f})"
        )
        log.info("finetune: mode %s: %s", mode, self.reason)
        return mode

    def _note(self, found: History) -> None:
        for curve, values in found.items():
            self.history[curve] = [*self.history.get(curve, []), *values]


def _linear(layers: list[keras.Layer], num_classes: int) -> keras.layers.Dense | None:
    """The dense layer of a head that has one, with a bias, and nothing after it but a softmax."""
    learned = [layer for layer in layers if layer.weights]
    if len(learned) != 1 or not isinstance(learned[0], keras.layers.Dense):
        return None
    dense = learned[0]
    after = layers[layers.index(dense) + 1 :]
    own = dense.activation in (keras.activations.linear, keras.activations.softmax)
    plain = all(isinstance(layer, keras.layers.Softmax) for layer in after)
    return dense if own and plain and dense.use_bias and dense.units == num_classes else None


def _best(history: History, settle: int, objective: Objective) -> float:
    """The objective on val of the epoch whose weights were kept."""
    pairs = zip(history[f"val/{objective}"], history["val/loss"], strict=True)
    counted = [score for score, loss in list(pairs)[settle:] if math.isfinite(loss)]
    return max(counted, default=-1.0)


def head(model: keras.Model, new_layers: tuple[str, ...]) -> tuple[Any, list[keras.Layer]]:
    """Split a model: the features that its new layers read, and the layers from there on.

    Args:
        model: A model that ends in a chain of new layers, and layers without weights.
        new_layers: Names of the new layers; if empty, the last layer with a kernel.
    """
    readers = {id(output): (layer, sources) for layer, sources, output in walk.calls(model)}
    wanted = set(new_layers) or {[la.name for la in model.layers if hasattr(la, "kernel")][-1]}
    tensor, layers = model.outputs[0], list[keras.Layer]()
    while id(tensor) in readers:
        layer, sources = readers[id(tensor)]
        if layer.name not in wanted and not table.of(layer).trains_alone:
            break
        layers.insert(0, layer)
        tensor = sources[0]
    if missing := wanted - {layer.name for layer in layers}:
        raise ValueError(
            f"a head can be trained alone where only new layers follow the features. Received: "
            f"new_layers={sorted(missing)} before other layers. Use mode full"
        )
    return tensor, layers


def _described(model: keras.Model, cut: Any, dataset: Dataset, cache: Path) -> Dataset:
    """Make a data set with features in place of images; `cache` keeps them for later calls."""
    backbone = keras.Model(model.inputs, cut)
    digest = hashlib.sha256(dataset.fingerprint.encode())
    for values in backbone.get_weights():
        digest.update(values.tobytes())
    mark = digest.hexdigest()
    found = _read(cache, mark)
    if found is None:
        count = len(dataset.train) + len(dataset.val)
        log.info("finetune: computing the features of %d images", count)
        found = {}
        for part in ("train", "val"):
            images = stream(getattr(dataset, part), 64).map(lambda x, _: x)
            found[part] = backbone.predict(images, verbose=0)
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, mark=np.array(mark), **found)
        write_atomic(cache, content.getvalue())
    train, val = (
        Split(found[part], getattr(dataset, part).labels, np.arange(len(found[part])))
        for part in ("train", "val")
    )
    return dataclasses.replace(dataset, train=train, val=val, fingerprint=mark)


def _read(cache: Path, mark: str) -> dict[str, Any] | None:
    if not cache.exists():
        return None
    with np.load(cache, allow_pickle=False) as file:
        return {k: file[k] for k in ("train", "val")} if str(file["mark"]) == mark else None
