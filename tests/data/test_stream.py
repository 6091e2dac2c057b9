"""Streams and batches: order, types, balance, and that an image keeps its label."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipeline.data.datasets import Dataset, Split
from pipeline.data.packed import Packed
from pipeline.data.pictures import Form
from pipeline.data.stores import Packer
from pipeline.data.stream import balanced, batch, calibration, stream


def split_of(labels: list[int]) -> Split:
    """Build a split whose image i is filled with the number 2 i, out of twice as many images."""
    rows = np.arange(2 * len(labels), dtype=np.uint8)
    images = np.broadcast_to(rows[:, None, None, None], (len(rows), 4, 6, 3))
    return Split(images, np.array(labels, np.int32), np.arange(0, 2 * len(labels), 2))


# stream


def test_a_stream_in_order_gives_everything_once() -> None:
    batches = list(stream(split_of(list(range(10))), 4).as_numpy_iterator())
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    assert np.concatenate([labels for _, labels in batches]).tolist() == list(range(10))
    pixels = np.concatenate([images[:, 0, 0, 0] for images, _ in batches])
    assert pixels.tolist() == list(range(0, 20, 2))


def test_a_stream_has_the_types_and_shapes_that_keras_needs() -> None:
    images, labels = stream(split_of([0] * 10), 4).element_spec
    assert (images.dtype.name, images.shape.as_list()) == ("float32", [None, 4, 6, 3])
    assert (labels.dtype.name, labels.shape.as_list()) == ("int32", [None])


def test_a_shuffled_stream_keeps_picture_and_label_together() -> None:
    for images, labels in stream(split_of(list(range(12))), 4, shuffle_seed=3):
        assert (images.numpy()[:, 0, 0, 0] == 2 * labels.numpy()).all()


def test_a_shuffled_stream_drops_the_last_incomplete_batch() -> None:
    fed = stream(split_of(list(range(10))), 4, shuffle_seed=0)
    assert [len(labels) for _, labels in fed.as_numpy_iterator()] == [4, 4]
    assert int(fed.cardinality()) == 2


def test_a_shuffled_split_smaller_than_a_batch_is_kept() -> None:
    fed = stream(split_of([0, 1, 2]), 4, shuffle_seed=0)
    assert [len(labels) for _, labels in fed.as_numpy_iterator()] == [3]
    assert int(fed.cardinality()) == 1


def epochs(seed: int) -> list[list[int]]:
    fed = stream(split_of(list(range(12))), 4, shuffle_seed=seed)
    return [
        np.concatenate([labels for _, labels in fed.as_numpy_iterator()]).tolist() for _ in range(3)
    ]


def test_every_epoch_has_its_own_order() -> None:
    orders = epochs(0)
    assert len({tuple(order) for order in orders}) == 3
    assert all(sorted(order) == list(range(12)) for order in orders)


def test_the_orders_follow_the_seed_whatever_the_global_seed() -> None:
    keras.utils.set_random_seed(1)
    first = epochs(7)
    keras.utils.set_random_seed(2)
    assert epochs(7) == first
    assert epochs(8) != first


def test_keras_knows_the_steps_and_sees_every_image() -> None:
    split = split_of([0, 1] * 8)
    model = keras.Sequential(
        [keras.Input((4, 6, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, jit_compile=False)
    fed = stream(split, 4, shuffle_seed=0)
    model.fit(fed, epochs=2, validation_data=stream(split, 5), verbose=0)
    assert int(fed.cardinality()) == 4
    assert int(model.optimizer.iterations) == 8


# batch


def test_a_batch_is_balanced_over_the_classes() -> None:
    _, labels = batch(split_of([0] * 50 + [1] * 30 + [2] * 10), 21, seed=0)
    assert np.bincount(labels).tolist() == [7, 7, 7]


def test_a_batch_takes_more_of_large_classes_when_small_ones_run_out() -> None:
    _, labels = batch(split_of([0] * 50 + [1] * 2), 10, seed=0)
    assert np.bincount(labels).tolist() == [8, 2]


def test_a_batch_holds_different_images_with_their_labels() -> None:
    images, labels = batch(split_of(list(range(5)) * 4), 12, seed=0)
    rows = images[:, 0, 0, 0] // 2
    assert images.dtype == np.uint8
    assert len(set(rows)) == 12
    assert (rows % 5 == labels).all()


def test_ranges_are_measured_on_an_image_of_each_class(caplog: pytest.LogCaptureFixture) -> None:
    split = split_of([0] * 50 + [1] * 30 + [2] * 10)
    with caplog.at_level("INFO", "flopsmith"):
        assert np.array_equal(calibration(split, 6, 0), batch(split, 6, 0)[0])
    assert not caplog.records
    with caplog.at_level("INFO", "flopsmith"):
        images = calibration(split, 1, 0)
    assert np.array_equal(images, batch(split, 3, 0)[0])
    assert "3 images, one of each class. Asked: 1" in caplog.text


def test_a_batch_follows_its_seed() -> None:
    split = split_of([0, 1] * 30)
    first, again, other = (batch(split, 8, seed)[0] for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_a_batch_of_more_than_there_are_gives_all() -> None:
    assert len(batch(split_of([0, 1, 1]), 100, seed=0)[1]) == 3


def test_short_epochs_go_on_where_the_last_ended_until_all_have_been_seen(
    squares: Dataset,
) -> None:
    split = replace(squares.train, images=np.arange(16, dtype=np.uint8).reshape(16, 1, 1, 1))
    batches = stream(split, 2, shuffle_seed=3, epoch_images=6)
    seen = [[int(x) for images, _ in batches for x in np.asarray(images).ravel()] for _ in range(8)]
    assert [len(epoch) for epoch in seen] == [6] * 8
    flat = [image for epoch in seen for image in epoch]
    for start in (0, 16, 32):
        assert sorted(flat[start : start + 16]) == list(range(16))
    third = stream(split, 2, shuffle_seed=3, first_epoch=2, epoch_images=6)
    assert [int(x) for images, _ in third for x in np.asarray(images).ravel()] == seen[2]


def test_compressed_images_give_the_batches_of_the_array(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 4, 6, 3), np.uint8)
    store = Packer(tmp_path, Form((4, 6), 3), 10**6)
    for image in images:
        store.add(image)
    store.finish([])
    store.close()
    labels, index = np.arange(10, dtype=np.int32), np.arange(0, 20, 2)
    splits = [Split(one, labels, index) for one in (images, Packed(tmp_path))]
    array, packed = (list(stream(one, 4, shuffle_seed=1).as_numpy_iterator()) for one in splits)
    for (pixels, numbers), (expected, known) in zip(packed, array, strict=True):
        assert (pixels == expected).all()
        assert (numbers == known).all()
    assert (batch(splits[1], 5, 0)[0] == batch(splits[0], 5, 0)[0]).all()


# classes


UNEVEN = [0] * 300 + [1] * 90 + [2] * 10


def counted(sampling: Any, size: int, epochs: int = 1, **options: Any) -> list[list[list[int]]]:
    """How many images of each class every batch of every epoch has."""
    split = split_of(UNEVEN)
    fed = stream(split, size, 5, sampling=sampling, **options)
    return [
        [np.bincount(labels, minlength=3).tolist() for _, labels in fed.as_numpy_iterator()]
        for _ in range(epochs)
    ]


def test_a_stratified_batch_has_every_class_by_its_share() -> None:
    for batches in counted("stratified", 40, epochs=3):
        expected = np.array([30, 9, 1])
        assert np.abs(np.array(batches) - expected).max() <= 1
        assert np.sum(batches, axis=0).tolist() == [300, 90, 10]


def test_a_stratified_epoch_has_every_image_once_and_each_epoch_another_order() -> None:
    split = split_of(list(UNEVEN))
    fed = stream(split, 400, 5, sampling="stratified")
    orders = [next(fed.as_numpy_iterator())[0][:, 0, 0, 0].tolist() for _ in range(2)]
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]


def test_a_balanced_epoch_has_of_every_class_as_many() -> None:
    for batches in counted("balanced", 40, epochs=3):
        assert len(batches) == 10
        assert np.abs(np.array(batches) - 40 / 3).max() <= 2
        each = np.sum(batches, axis=0)
        assert each.sum() == 400
        assert each.max() - each.min() <= 1


def test_over_balanced_epochs_every_image_of_a_class_is_seen_as_often() -> None:
    labels = np.array(UNEVEN)
    seen = np.zeros(len(labels), int)
    for epoch in range(6):  # 3 x 133 or 134 images of each class in two epochs
        np.add.at(seen, balanced(labels, 400, 5, epoch), 1)
    for label in range(3):
        own = seen[labels == label]
        assert own.sum() == 800
        assert own.max() - own.min() <= 1


@pytest.mark.parametrize("images", [None, 64])
@pytest.mark.parametrize("sampling", ["shuffled", "stratified", "balanced"])
def test_a_stream_that_resumes_goes_on_in_the_same_order(sampling: Any, images: int | None) -> None:
    split = split_of(list(range(100)))
    whole = stream(split, 10, 5, 0, images, sampling)
    later = stream(split, 10, 5, 2, images, sampling)
    orders = [[labels.tolist() for _, labels in whole.as_numpy_iterator()] for _ in range(3)]
    assert [labels.tolist() for _, labels in later.as_numpy_iterator()] == orders[2]
    assert orders[1] != orders[2]


def test_shuffled_is_the_order_that_there_always_was() -> None:
    order = np.concatenate([np.random.default_rng([5, p]).permutation(12) for p in (0, 1)])
    fed = stream(split_of(list(range(12))), 12, 5)
    labels = [next(fed.as_numpy_iterator())[1] for _ in range(2)]
    assert np.concatenate(labels).tolist() == order.tolist()
