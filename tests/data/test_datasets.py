"""Named data sets: parsing, dividing, streaming; and the built-in digits."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.data import datasets
from pipeline.data.datasets import DataConfig, Dataset, Split
from pipeline.data.stream import batch, stream
from pipeline.errors import DataError


def folder_cache(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    with pytest.MonkeyPatch.context() as patch:
        folder_cache(patch, tmp_path_factory.mktemp("cache"))
        return datasets.load(DataConfig(), seed=0)


def npz(path: Path, train: list[int], test: list[int] | None = None) -> str:
    """Write an archive whose images are all different: the row number in every pixel."""
    y_train, y_test = np.array(train), np.array(test if test else sorted(set(train)))
    rows = np.arange(len(y_train) + len(y_test), dtype=np.uint8)
    images = np.broadcast_to(rows[:, None, None], (len(rows), 8, 8))
    np.savez(
        path,
        x_train=images[: len(y_train)],
        y_train=y_train,
        x_test=images[len(y_train) :],
        y_test=y_test,
    )
    return f"npz:{path}"


def split_of(labels: list[int]) -> Split:
    """Build a split whose image i is filled with the number 2 i, out of twice as many images."""
    rows = np.arange(2 * len(labels), dtype=np.uint8)
    images = np.broadcast_to(rows[:, None, None, None], (len(rows), 4, 6, 3))
    return Split(images, np.array(labels, np.int32), np.arange(0, 2 * len(labels), 2))


def divide(labels: list[int], seed: int = 0, **fractions: float) -> dict[str, np.ndarray]:
    names = tuple(str(label) for label in range(max(labels) + 1))
    config = DataConfig(**fractions)
    return datasets._divide(np.array(labels, np.int32), names, {}, config, seed)


# parse


@pytest.mark.parametrize(
    ("source", "parsed"),
    [
        ("digits", ("digits", "")),
        ("tfds:mnist", ("tfds", "mnist")),
        ("tfds:mnist:3.0.1", ("tfds", "mnist:3.0.1")),
        ("folder:~/a:b", ("folder", "~/a:b")),
        ("npz:x.npz", ("npz", "x.npz")),
    ],
)
def test_a_source_is_taken_apart(source: str, parsed: tuple[str, str]) -> None:
    assert datasets.parse(source) == parsed


@pytest.mark.parametrize("source", ["", "cifar", "digits:", "digits:x", "tfds", "folder:", "csv:x"])
def test_an_unknown_source_lists_the_known_ones(source: str) -> None:
    with pytest.raises(DataError, match=r"digits, tfds:NAME\[:VERSION\], folder:PATH, npz:PATH"):
        datasets.parse(source)


def test_load_refuses_an_unknown_source() -> None:
    with pytest.raises(DataError, match="Received: source='csv:x'"):
        datasets.load(DataConfig(source="csv:x"), seed=0)


def test_importing_and_parsing_loads_no_heavy_library() -> None:
    code = (
        "import sys; from pipeline.data import datasets as d; "
        "d.parse('tfds:mnist'); d.DataConfig();"
        "heavy = {'tensorflow', 'tensorflow_datasets', 'sklearn', 'keras'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    root = Path(datasets.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# DataConfig


def test_fractions_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(ValidationError, match="nothing would be left to train on"):
        DataConfig(val_fraction=0.5, test_fraction=0.5)


@pytest.mark.parametrize(
    "setting", [{"val_fraction": 0}, {"test_fraction": 0.6}, {"image_size": 4}, {"sauce": "digits"}]
)
def test_a_setting_out_of_range_is_refused(setting: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DataConfig.model_validate(setting)


def test_every_setting_has_a_default_and_a_description() -> None:
    for name, field in DataConfig.model_fields.items():
        assert not field.is_required(), name
        assert field.description, name


# digits


def test_digits_have_their_images_size_and_class_names(digits: Dataset) -> None:
    assert len(digits.train) + len(digits.val) + len(digits.test) == 1797
    assert digits.image_shape == (32, 32, 1)
    assert digits.class_names == tuple("0123456789")
    assert digits.num_classes == 10


def test_digits_use_the_whole_range_of_a_byte(digits: Dataset) -> None:
    assert digits.train.images.dtype == np.uint8
    assert digits.train.images.min() == 0
    assert digits.train.images.max() == 255


def test_digits_keep_picture_and_label_together(digits: Dataset) -> None:
    from sklearn.datasets import load_digits
    from sklearn.neighbors import KNeighborsClassifier

    # Coarse 4x4 pictures of original and upscaled digits look alike; wrong labels would score 0.1.
    original = load_digits()
    coarse = original.images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16) / 16
    images = digits.test.images[digits.test.index]
    ours = images.reshape(-1, 4, 8, 4, 8).mean(axis=(2, 4)).reshape(-1, 16) / 255
    judge = KNeighborsClassifier(1).fit(coarse, original.target)
    assert judge.score(ours, digits.test.labels) > 0.9


def test_an_image_size_is_obeyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_cache(monkeypatch, tmp_path)
    source = npz(tmp_path / "a.npz", [0, 1] * 4)
    loaded = datasets.load(DataConfig(source=source, image_size=16), seed=0)
    assert loaded.image_shape == (16, 16, 1)


# dividing


def test_parts_are_disjoint_sorted_and_complete() -> None:
    parts = divide([0, 1, 2] * 40)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(120))
    assert all((np.diff(rows) > 0).all() for rows in parts.values())


def test_parts_have_the_size_asked_for() -> None:
    parts = divide([0] * 333 + [1] * 667, val_fraction=0.15, test_fraction=0.2)
    assert {part: len(rows) for part, rows in parts.items()} == {
        "train": 650,
        "val": 150,
        "test": 200,
    }


def test_small_equal_classes_do_not_distort_the_size() -> None:
    labels = list(range(100)) * 10  # 1.5 images of each class: rounding each would give 200
    assert len(divide(labels, val_fraction=0.15)["val"]) == 150


def test_classes_keep_their_shares() -> None:
    labels = np.array([0] * 700 + [1] * 200 + [2] * 100)
    for rows in divide(labels.tolist()).values():
        shares = np.bincount(labels[rows]) / len(rows)
        np.testing.assert_allclose(shares, [0.7, 0.2, 0.1], atol=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_every_part_has_every_class_of_three_images_or_more(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(30), rng.integers(3, 12, 30))
    fractions = {"val_fraction": rng.uniform(0.01, 0.49), "test_fraction": rng.uniform(0.01, 0.5)}
    for rows in divide(labels.tolist(), seed, **fractions).values():
        assert set(labels[rows]) == set(range(30))


def test_a_class_too_small_to_divide_is_named() -> None:
    with pytest.raises(DataError, match=r"images=\{'1': 2\}. Give at least 3 of each class"):
        divide([0] * 10 + [1] * 2)


def test_a_single_class_is_refused() -> None:
    with pytest.raises(DataError, match="classes=1"):
        divide([0] * 10)


def test_the_seed_decides_the_parts() -> None:
    labels = [0, 1] * 50
    first, again, other = divide(labels, 1), divide(labels, 1), divide(labels, 2)
    assert all((first[part] == again[part]).all() for part in first)
    assert any(not np.array_equal(first[part], other[part]) for part in first)


def test_a_test_part_of_the_source_is_the_same_for_every_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_cache(monkeypatch, tmp_path)
    config = DataConfig(source=npz(tmp_path / "a.npz", [0, 1] * 20, [1, 0, 1]))
    one, two = datasets.load(config, seed=1), datasets.load(config, seed=2)
    assert one.test.index.tolist() == two.test.index.tolist() == [40, 41, 42]
    assert one.test.labels.tolist() == [1, 0, 1]
    assert one.val.index.tolist() != two.val.index.tolist()


def test_validation_images_come_out_of_the_train_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_cache(monkeypatch, tmp_path)
    source = npz(tmp_path / "a.npz", [0, 1] * 20, [0, 1] * 30)
    loaded = datasets.load(DataConfig(source=source, val_fraction=0.1), seed=0)
    assert len(loaded.val) == 4
    assert len(loaded.train) == 36
    assert loaded.val.index.max() < 40


def test_a_class_of_two_is_enough_where_the_source_has_a_test_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_cache(monkeypatch, tmp_path)
    loaded = datasets.load(DataConfig(source=npz(tmp_path / "a.npz", [0, 0, 1, 1])), seed=0)
    assert sorted(loaded.train.labels) == sorted(loaded.val.labels) == [0, 1]


def test_the_fingerprint_follows_content_and_division(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_cache(monkeypatch, tmp_path)
    source = npz(tmp_path / "a.npz", [0, 1] * 20)
    other = npz(tmp_path / "b.npz", [1, 0] * 20)

    def mark(source: str, seed: int = 0, **settings: object) -> str:
        config = DataConfig.model_validate({"source": source, **settings})
        return datasets.load(config, seed).fingerprint

    marks = [
        mark(source),
        mark(source, seed=1),
        mark(other),
        mark(source, val_fraction=0.3),
        mark(source, image_size=16),
    ]
    assert mark(source) == marks[0]
    assert len(set(marks)) == 5


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


@pytest.mark.parametrize(
    ("labels", "chance"), [([0, 1, 2, 3], 0.3), ([0, 0, 1, 2], 0.6), ([0] * 9 + [1], 0.95)]
)
def test_chance_is_a_little_above_the_share_of_the_largest_class(
    labels: list[int], chance: float
) -> None:
    val = Split(np.zeros((1,)), np.array(labels, np.int32), np.arange(len(labels)))
    assert datasets.chance(val) == pytest.approx(chance)
