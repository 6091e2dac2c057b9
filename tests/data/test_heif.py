"""HEIC pictures: read where the package is installed, and otherwise a line that names it."""

import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest

from pipeline.data import datasets, heif, pictures
from pipeline.data.datasets import DataConfig
from pipeline.errors import DataError

START = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 80  # how such a file begins


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    missing = lambda name, *more: None if name == heif.PACKAGE else find(name, *more)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", missing)


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize("as_bytes", [True, False])
def test_without_the_package_the_extra_is_named(tmp_path: Path, as_bytes: bool) -> None:
    (tmp_path / "a.heic").write_bytes(START)
    with pytest.raises(DataError, match=r"pip install 'flopsmith\[heic\]'"):
        pictures.header(io.BytesIO(START) if as_bytes else tmp_path / "a.heic")


@pytest.mark.usefixtures("without")
def test_a_folder_with_such_a_picture_is_refused_even_if_unreadable_ones_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from support import photographs

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for label, name in enumerate("ab"):
        for number in range(4):
            photographs.write(tmp_path / "p" / name / f"{number}.png", label, number)
    (tmp_path / "p/a/IMG_1.HEIC").write_bytes(START)
    config = DataConfig(source=f"folder:{tmp_path}/p", skip_unreadable=True)
    with pytest.raises(DataError, match=r"file=.*IMG_1.HEIC\. Run pip install"):
        datasets.load(config, 0)


def test_other_files_that_are_no_pictures_are_unreadable_as_before(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_text("no picture")
    with pytest.raises(pictures.UNREADABLE):
        pictures.header(tmp_path / "a.heic")


def test_with_the_package_it_is_a_picture(tmp_path: Path) -> None:
    package = pytest.importorskip("pillow_heif")
    package.from_bytes("RGB", (64, 48), bytes([200, 30, 30]) * (64 * 48)).save(tmp_path / "a.heic")
    header = pictures.header(tmp_path / "a.heic")
    assert (header.height, header.width, header.grey) == (48, 64, False)
    pixels = pictures.decode(tmp_path / "a.heic", (32, 32), 3)
    assert np.abs(pixels.astype(int) - [200, 30, 30]).max() < 12
