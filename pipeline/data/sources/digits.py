"""`digits`: scikit-learn's 1,797 handwritten digits, as a tensorflow-datasets set; no network."""

import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.cache import Contents, Source
from pipeline.data.pictures import Form
from pipeline.system.files import cache_root

FORM = "digits"
VERSION = "1.0.0"
IMAGE_SIZE = 32  # pixels per side, unless the recipe says otherwise; the originals have 8


@functools.cache
def builder() -> Any:
    """The builder class; tensorflow-datasets allows one definition of a name per process."""
    import tensorflow_datasets

    class Digits(tensorflow_datasets.core.GeneratorBasedBuilder):  # type: ignore[misc]
        """The 8x8 originals, 0..16 scaled to 0..255, in one part named `train`."""

        VERSION = tensorflow_datasets.core.Version(VERSION)

        def _info(self) -> Any:
            features = tensorflow_datasets.features
            return tensorflow_datasets.core.DatasetInfo(
                builder=self,
                description="8x8 handwritten digits of the UCI repository, from scikit-learn",
                features=features.FeaturesDict(
                    {
                        "image": features.Image(shape=(8, 8, 1), dtype=np.uint8),
                        "label": features.ClassLabel(names=[str(digit) for digit in range(10)]),
                    }
                ),
                homepage="https://archive.ics.uci.edu/dataset/80",
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {"train": self._generate_examples()}

        def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
            from sklearn.datasets import load_digits

            digits = load_digits()
            images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
            for row, (image, label) in enumerate(zip(images, digits.target, strict=True)):
                yield row, {"image": image, "label": int(label)}

    return Digits


def find(rest: str, form: Form, data_dir: str | None) -> Source:
    """Describe the set; it is prepared in `data_dir`, or in our cache, when it is opened."""
    place = Path(data_dir).expanduser() if data_dir else cache_root() / "tfds"

    def contents() -> Contents:
        from pipeline.data.sources import tfds  # it imports Pillow

        prepared = tfds.prepare(lambda: builder()(data_dir=str(place)), "digits")
        sized = replace(form, size=form.size or (IMAGE_SIZE, IMAGE_SIZE))
        return tfds.contents(prepared, "digits", sized)

    return Source(("digits", VERSION), contents)
