"""The writers of decoded images."""

from pathlib import Path

import numpy as np

from pipeline.data.packed import Packed
from pipeline.data.pictures import Form
from pipeline.data.stores import IMAGES, Packer, Whole

IMAGE = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)


def test_an_array_may_become_shorter_than_was_expected(tmp_path: Path) -> None:
    store = Whole(tmp_path, (4, 5, 3), 123_456_789)
    for number in range(3):
        store.add(IMAGE + number)
    store.finish()
    store.close()
    images = np.load(tmp_path / IMAGES, mmap_mode="r")
    assert images.shape == (3, 4, 5, 3)
    assert (images[2] == IMAGE + 2).all()
    assert (tmp_path / IMAGES).stat().st_size == images.offset + images.nbytes


def test_the_array_is_the_file_that_numpy_writes(tmp_path: Path) -> None:
    store = Whole(tmp_path, (4, 5, 3), 2)
    store.add(IMAGE)
    store.add(IMAGE)
    store.finish()
    store.close()
    np.save(tmp_path / "numpy.npy", np.stack([IMAGE, IMAGE]))
    assert (tmp_path / IMAGES).read_bytes() == (tmp_path / "numpy.npy").read_bytes()


def test_after_an_image_without_a_place_none_has_one(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    flat = np.zeros((40, 50, 3), np.uint8)
    store = Packer(tmp_path, Form((40, 50), 3), 1000)
    for image in (flat, noise, flat):
        store.add(image)
    store.flush()
    assert (store.held, store.full) == (1, True)
    assert 0 < store.size_bytes < 1000
    store.finish([Path("a.png"), Path("b.png")])
    store.close()
    assert len(Packed(tmp_path)) == 3


def test_many_images_are_written_in_order(tmp_path: Path) -> None:
    store = Packer(tmp_path, Form((4, 5), 3), 10**6)
    for number in range(100):
        store.add(np.full((4, 5, 3), number, np.uint8))
    store.finish([])
    store.close()
    assert Packed(tmp_path)[:, 0, 0, 0].tolist() == list(range(100))
