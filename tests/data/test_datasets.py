"""Named data sets: parsing, loading, and the division as a source and a seed decide it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.data import datasets, places
from pipeline.data.datasets import DataConfig, Split
from pipeline.data.pictures import Form
from pipeline.errors import DataError
from pipeline.system import plugins


def folder_cache(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))


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
    assert places.parse(source) == parsed


LISTED = r"csv:FILE, digits, folder:PATH, npz:PATH, parquet:PATH, tfds:NAME\[:VERSION\]"


@pytest.mark.parametrize("source", ["", "cifar", "digits:", "digits:x", "tfds", "folder:", "cvs:x"])
def test_an_unknown_source_lists_the_known_ones(source: str) -> None:
    with pytest.raises(DataError, match=LISTED):
        places.parse(source)


def test_load_refuses_an_unknown_source() -> None:
    with pytest.raises(DataError, match="Received: source='cvs:x'"):
        datasets.load(DataConfig(source="cvs:x"), seed=0)


def test_importing_and_parsing_loads_no_heavy_library() -> None:
    code = (
        "import sys; from pipeline.data import datasets as d, places as p; "
        "p.parse('tfds:mnist'); d.DataConfig();"
        "heavy = {'tensorflow', 'tensorflow_datasets', 'sklearn', 'keras'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    root = Path(datasets.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_reading_any_source_loads_no_heavy_library() -> None:
    code = (
        "import sys; from pipeline.data import places as d\n"
        "try: d.parse('cvs:x')\n"
        "except ValueError: pass\n"
        "missing = {f'{d.SOURCES}.tfds', f'{d.SOURCES}.digits'} - set(sys.modules)\n"
        "heavy = {'tensorflow', 'tensorflow_datasets', 'sklearn', 'keras'} & set(sys.modules)\n"
        "sys.exit(str(heavy or missing) if heavy or missing else 0)"
    )
    root = Path(datasets.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", plugins.names(places.SOURCES))
def test_every_source_says_how_it_is_written(kind: str) -> None:
    form = plugins.load(places.SOURCES, kind, "data source").FORM
    assert form.partition(":")[0] == kind
    assert places.parse(form)[0] == kind


# DataConfig


def test_fractions_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(ValidationError, match="nothing would be left to train on"):
        DataConfig(val_fraction=0.5, test_fraction=0.5)


def test_the_budget_of_the_cache_is_a_human_number() -> None:
    assert DataConfig.model_validate({"cache": "1.5G"}).cache == 1_500_000_000
    assert DataConfig().cache == 4 * 10**9
    for wrong in (-1, "many", True):
        with pytest.raises(ValidationError):
            DataConfig.model_validate({"cache": wrong})


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


# loading


def test_an_image_size_is_obeyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_cache(monkeypatch, tmp_path)
    source = npz(tmp_path / "a.npz", [0, 1] * 4)
    loaded = datasets.load(DataConfig(source=source, image_size=16), seed=0)
    assert loaded.image_shape == (16, 16, 1)


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


def test_of_many_images_no_more_are_kept_for_validation_than_tell_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_cache(monkeypatch, tmp_path)
    few = datasets.load(DataConfig(source=npz(tmp_path / "a.npz", [0, 1] * 2000)), seed=0)
    assert (len(few.val), len(few.train)) == (600, 3400)  # 15%
    source = npz(tmp_path / "b.npz", [0, 1] * 20_000)
    many = datasets.load(DataConfig(source=source), seed=0)
    assert (len(many.val), len(many.train)) == (5000, 35_000)
    asked = datasets.load(DataConfig(source=source, val_fraction=0.15), seed=0)
    assert len(asked.val) == 6000


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


def test_some_images_of_a_part_are_decoded_without_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_cache(monkeypatch, tmp_path)
    config = DataConfig(source=npz(tmp_path / "a.npz", [0, 1] * 20), val_fraction=0.5)
    some, names = datasets.sample(config, 3, 7)
    assert not (tmp_path / "flopsmith").exists()
    whole = datasets.load(config, 3)
    cached, _ = datasets.sample(config, 3, 7)
    assert names == whole.class_names
    rows = some.images[:, 0, 0, 0]  # the number of the row is in every pixel
    assert len(some) == 7
    assert set(rows) <= set(whole.val.index)
    assert (rows == cached.index).all()
    for part in (some, cached):
        assert (part.arrays()[0][:, 0, 0, 0] % 2 == part.labels).all()


def test_a_sample_has_the_form_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_cache(monkeypatch, tmp_path)
    source = npz(tmp_path / "a.npz", [0, 1] * 20)
    config = DataConfig(source=source, image_size=(12, 20), channels=3, fit="pad")
    some, _ = datasets.sample(config, 0, 100, "test")
    assert some.images.shape == (2, 12, 20, 3)
    assert some.images[:, 6, 0].tolist() == [[0, 0, 0]] * 2  # what is padded


@pytest.mark.parametrize("size", [48, [32, 48]])
def test_the_form_follows_the_settings(size: int | list[int]) -> None:
    settings = {"image_size": size, "channels": 1, "fit": "stretch"}
    form = DataConfig.model_validate(settings).form
    assert form == Form((32, 48) if size != 48 else (48, 48), 1, "stretch")
    assert DataConfig().form == Form(None, None, "crop")


def test_a_data_set_tells_its_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_cache(monkeypatch, tmp_path)
    config = DataConfig(source=npz(tmp_path / "a.npz", [0, 1] * 20), fit="stretch")
    assert datasets.load(config, 0).form == Form((8, 8), 1, "stretch")


@pytest.mark.parametrize(
    ("labels", "chance"), [([0, 1, 2, 3], 0.3), ([0, 0, 1, 2], 0.6), ([0] * 9 + [1], 0.95)]
)
def test_chance_is_a_little_above_the_share_of_the_largest_class(
    labels: list[int], chance: float
) -> None:
    val = Split(np.zeros((1,)), np.array(labels, np.int32), np.arange(len(labels)))
    assert datasets.chance(val) == pytest.approx(chance)
