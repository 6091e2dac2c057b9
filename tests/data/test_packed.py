"""Compressed images on disk stand for the array that they were made from."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from support import photographs

from pipeline.data import packed, pictures
from pipeline.data.packed import Packed
from pipeline.data.pictures import Form
from pipeline.data.stores import Packer
from pipeline.errors import DataError

COUNT = 7


@pytest.fixture(params=[1, 3])
def images(request: pytest.FixtureRequest) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (COUNT, 6, 9, request.param), np.uint8)


def kept(folder: Path, images: np.ndarray) -> Packed:
    folder.mkdir()
    store = Packer(folder, Form(images.shape[1:3], images.shape[3]), 10**6)
    for image in images:
        store.add(image)
    store.finish([])
    store.close()
    return Packed(folder)


@pytest.mark.parametrize("kind", ["photo", "flat", "noise"])
@pytest.mark.parametrize("channels", [1, 3])
def test_compression_loses_nothing(kind: str, channels: int) -> None:
    rng = np.random.default_rng(1)
    made = {
        "photo": np.asarray(photographs.picture(1, 3)),
        "flat": np.full((5, 4, 3), 200, np.uint8),
        "noise": rng.integers(0, 256, (33, 1, 3), np.uint8),
    }[kind][..., :channels]
    assert (packed.decoded(packed.encoded(made), channels) == made).all()


@pytest.mark.parametrize(
    "key",
    [
        *(0, -1, np.int64(3), slice(None), slice(1, 6, 2), slice(0, 0), [3, 0, 3]),
        *(np.array([6, 2]), np.arange(COUNT) % 2 == 0, np.array([[0, 1], [2, 3]])),
        *((slice(None), 0, 0), (2, ..., 0), (slice(2), slice(1, 3), 4), np.array([], np.int64)),
    ],
    ids=str,
)
def test_it_is_indexed_as_the_array(tmp_path: Path, images: np.ndarray, key: object) -> None:
    found, expected = kept(tmp_path / "k", images)[key], images[key]
    assert found.shape == expected.shape
    assert (found == expected).all()


def test_it_looks_like_the_array(tmp_path: Path, images: np.ndarray) -> None:
    made = kept(tmp_path / "k", images)
    assert (made.shape, made.dtype, made.ndim, made.size, len(made)) == (
        *(images.shape, images.dtype, images.ndim, images.size, len(images)),
    )
    assert (np.asarray(made) == images).all()
    assert np.asarray(made, np.float32).dtype == np.float32
    assert (made.take(np.array([5, 1]), axis=0) == images[[5, 1]]).all()


@pytest.mark.parametrize("key", [COUNT, -COUNT - 1, [COUNT]])
def test_a_row_that_is_not_there_is_an_error(tmp_path: Path, key: object) -> None:
    made = kept(tmp_path / "k", np.zeros((COUNT, 4, 4, 1), np.uint8))
    with pytest.raises(IndexError):
        made[key]


def test_another_process_opens_the_same_files(tmp_path: Path, images: np.ndarray) -> None:
    data = pickle.dumps(kept(tmp_path / "k", images))
    assert len(data) < 300
    assert (np.asarray(pickle.loads(data)) == images).all()


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    kept(tmp_path / "k", np.zeros((COUNT, 4, 4, 1), np.uint8))
    photographs.cut(tmp_path / "k" / packed.PIXELS)
    with pytest.raises(ValueError, match="not whole"):
        Packed(tmp_path / "k")


def test_what_had_no_place_is_decoded_from_its_own_file(tmp_path: Path) -> None:
    paths = [photographs.write(tmp_path / f"{number}.png", 2, number) for number in range(3)]
    whole = np.stack([pictures.decode(path, (16, 20), 3, "pad") for path in paths])
    store = Packer(tmp_path, Form((16, 20), 3, "pad"), len(packed.encoded(whole[0])) + 5)
    for image in whole:
        store.add(image)
    store.flush()
    assert store.held == 1
    store.finish(paths[1:])
    store.close()
    made = Packed(tmp_path)
    assert (np.asarray(made) == whole).all()
    paths[2].unlink()
    with pytest.raises(DataError, match=r"can no longer be read.*file=.*2.png.*raise data.cache"):
        made[2]
