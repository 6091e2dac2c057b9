"""`folder:PATH`: image folders become data sets, and bad ones are told apart by name."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import photographs

from pipeline.data import datasets, pictures
from pipeline.data.datasets import DataConfig, Dataset
from pipeline.errors import DataError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "flopsmith"


def picture(
    path: Path, value: int = 100, size: tuple[int, int] = (40, 40), mode: str = "L"
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value, 0, 0)).save(path)


def classes(root: Path, count: int = 4, names: tuple[str, ...] = ("cat", "dog")) -> Path:
    """Write `count` pictures per class, every class of its own grey."""
    for label, name in enumerate(names):
        for row in range(count):
            picture(root / name / f"{row}.png", 100 * label + row)
    return root


def load(root: Path, seed: int = 0, **settings: object) -> Dataset:
    config = DataConfig.model_validate({"source": f"folder:{root}", **settings})
    return datasets.load(config, seed)


def kept(cache: Path) -> list[Path]:
    return list(cache.iterdir()) if cache.exists() else []


def test_classes_are_named_and_labelled_by_their_folders(tmp_path: Path) -> None:
    loaded = load(classes(tmp_path / "pets"))
    assert loaded.class_names == ("cat", "dog")
    for split in (loaded.train, loaded.val, loaded.test):
        values = split.images[split.index][:, 0, 0, 0]
        assert (values // 100 == split.labels).all()


def test_images_are_a_read_only_memory_map(tmp_path: Path) -> None:
    images = load(classes(tmp_path / "pets")).train.images
    assert isinstance(images, np.memmap)
    assert not images.flags.writeable


def test_every_image_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[object] = []
    decode = pictures.decode
    monkeypatch.setattr(pictures, "decode", lambda *a: (decoded.append(a[0]), decode(*a))[1])
    root = classes(tmp_path / "pets")
    first, second = load(root), load(root, seed=1)
    assert len(decoded) == 8
    assert (first.train.images == second.train.images).all()


def test_a_changed_file_is_decoded_anew(tmp_path: Path) -> None:
    root = classes(tmp_path / "pets")
    first = load(root)
    picture(root / "cat" / "0.png", 77)
    os.utime(root / "cat" / "0.png", ns=(1, 1))
    second = load(root)
    assert second.train.images[0, 0, 0, 0] == 77
    assert second.fingerprint != first.fingerprint


def test_a_touched_file_keeps_the_fingerprint(tmp_path: Path) -> None:
    root = classes(tmp_path / "pets")
    first = load(root).fingerprint
    os.utime(root / "cat" / "0.png", ns=(1, 1))
    assert load(root).fingerprint == first


def test_folders_alike_in_names_sizes_and_times_are_not_confused(tmp_path: Path) -> None:
    for name, value in (("one", 10), ("two", 90)):
        for path in [*(tmp_path / name / c / f"{r}.bmp" for c in "ab" for r in range(3))]:
            picture(path, value)
            os.utime(path, ns=(1, 1))
    assert load(tmp_path / "one").train.images[0, 0, 0, 0] == 10
    assert load(tmp_path / "two").train.images[0, 0, 0, 0] == 90


def test_relative_paths_and_home_are_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes(tmp_path / "pets")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load(Path("pets")).num_classes == load(Path("~/pets")).num_classes == 2


def test_png_jpeg_and_bmp_count_whatever_the_case_of_the_suffix(tmp_path: Path) -> None:
    root = classes(tmp_path / "pets", count=3)
    for name in ("a.JPG", "b.jpeg", "c.Bmp", "d.PNG"):
        picture(root / "cat" / name)
    assert len(load(root).train.images) == 10


def test_other_and_hidden_files_are_ignored_with_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = classes(tmp_path / "pets")
    (root / "README.txt").write_text("loose")
    (root / "cat" / "notes.txt").write_text("no picture")
    (root / "cat" / ".hidden.png").write_bytes(b"no picture")
    (root / ".git").mkdir()
    with caplog.at_level(logging.INFO, "flopsmith"):
        assert len(load(root).train.images) == 8
    assert [line for line in caplog.messages if "ignored" in line] == [
        f"folder:{root}: ignored 4 files or folders: 2 .txt, 1 hidden or unused folders, 1 hidden"
    ]


def test_grey_pictures_have_one_channel(tmp_path: Path) -> None:
    assert load(classes(tmp_path / "pets")).image_shape == (40, 40, 1)


def test_one_coloured_picture_makes_all_rgb(tmp_path: Path) -> None:
    root = classes(tmp_path / "pets")
    picture(root / "cat" / "x.png", 200, mode="RGB")
    loaded = load(root)
    assert loaded.image_shape == (40, 40, 3)
    assert loaded.train.images[4, 0, 0].tolist() == [200, 0, 0]


def test_pictures_of_several_sizes_get_a_common_one_and_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = classes(tmp_path / "pets")
    picture(root / "cat" / "x.png", size=(70, 200))
    with caplog.at_level(logging.INFO, "flopsmith"):
        assert load(root).image_shape == (32, 32, 1)
    assert any("using 32x32" in line for line in caplog.messages)


def test_a_rotation_noted_in_exif_is_honoured(tmp_path: Path) -> None:
    root = classes(tmp_path / "pets")
    image = Image.new("L", (40, 40), 0)
    image.paste(255, (0, 0, 20, 40))  # the left half
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise: the top half
    image.save(root / "cat" / "0.jpg", exif=exif)
    upright = load(root).train.images[0, ..., 0]
    assert upright[:15].min() > 200
    assert upright[25:].max() < 50


def test_train_and_test_folders_are_kept_apart(tmp_path: Path) -> None:
    classes(tmp_path / "pets" / "train", count=10)
    classes(tmp_path / "pets" / "test", count=2)
    loaded = load(tmp_path / "pets", val_fraction=0.2)
    assert [len(part) for part in (loaded.train, loaded.val, loaded.test)] == [16, 4, 4]
    assert loaded.test.index.tolist() == load(tmp_path / "pets", seed=9).test.index.tolist()
    assert loaded.test.images[loaded.test.index][:, 0, 0, 0].tolist() == [0, 1, 100, 101]
    assert loaded.test.labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_a_validation_folder_is_used(tmp_path: Path, name: str) -> None:
    for part, count in (("train", 5), ("test", 2), (name, 3)):
        classes(tmp_path / "pets" / part, count)
    loaded = load(tmp_path / "pets")
    assert [len(part) for part in (loaded.train, loaded.val, loaded.test)] == [10, 6, 4]


def test_a_validation_folder_without_a_test_folder_is_the_test_part(tmp_path: Path) -> None:
    classes(tmp_path / "pets" / "train", count=10)
    classes(tmp_path / "pets" / "val", count=2)
    loaded = load(tmp_path / "pets", val_fraction=0.1)
    assert [len(part) for part in (loaded.train, loaded.val, loaded.test)] == [18, 2, 4]


def test_train_beside_other_names_is_a_class(tmp_path: Path) -> None:
    loaded = load(classes(tmp_path / "traffic", names=("bus", "test", "train")))
    assert loaded.class_names == ("bus", "test", "train")


# what is said, and what becomes of pictures of other kinds


def test_what_is_said_the_first_time_is_said_of_the_cached_images_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = classes(tmp_path / "pets")
    (root / "cat" / "notes.txt").write_text("no picture")
    picture(root / "cat" / "x.png", 200, (50, 60), mode="RGB")
    caplog.set_level(logging.INFO, "flopsmith")
    first = load(root)
    told = [line for line in caplog.messages if "decoding" not in line]
    caplog.clear()
    assert load(root).notes == first.notes
    assert caplog.messages == told
    assert told == [f"folder:{root}: {line}" for line in (*first.notes, told[-1].split(": ", 1)[1])]
    assert first.notes == (
        "ignored 1 files or folders: 1 .txt",
        "8 pictures are grey and become RGB, the same value three times",
        "images differ in size (40x40 to 60x50), using 32x32; see data.image_size",
    )


def test_the_overview_counts_images_classes_parts_and_size(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = classes(tmp_path / "pets", count=10)
    picture(root / "cat" / "x.png")
    caplog.set_level(logging.INFO, "flopsmith")
    load(root, fit="pad")
    assert caplog.messages[-1] == (
        f"folder:{root}: 21 images of 2 classes (largest class cat with 11, smallest dog with 10): "
        "14 train, 3 val, 4 test; size 40x40x1 (HxWxC), fit=pad"
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_convert_and_say_so(tmp_path: Path, channels: int) -> None:
    root = classes(tmp_path / "pets")
    for label in ("cat", "dog"):
        picture(root / label / "x.png", 200, mode="RGB")
    loaded = load(root, channels=channels)
    assert loaded.image_shape == (40, 40, channels)
    expected = "2 pictures are in colour" if channels == 1 else "8 pictures are grey"
    assert [expected in note for note in loaded.notes] == [True]
    red = loaded.train.images[4, 0, 0].tolist()  # cat/x.png
    assert red == ([60] if channels == 1 else [200, 0, 0])


def test_grey_pictures_stored_as_rgb_stay_so_and_are_told(tmp_path: Path) -> None:
    root = classes(tmp_path / "pets")
    for path in root.rglob("*.png"):
        Image.open(path).convert("RGB").save(path)
    loaded = load(root)
    assert loaded.image_shape[2] == 3
    assert any("all images are grey, though stored as RGB" in note for note in loaded.notes)


def test_12_bits_are_scaled_by_the_range_of_all_pictures(tmp_path: Path) -> None:
    root = tmp_path / "deep"
    for number, (label, high) in enumerate([("cat", 4095), ("dog", 300)] * 4):
        (root / label).mkdir(parents=True, exist_ok=True)
        values = np.full((32, 32), high, np.uint16)
        Image.fromarray(values).save(root / label / f"{number}.png")
    loaded = load(root)
    values = loaded.train.images[loaded.train.index][:, 0, 0, 0]
    assert set(values[loaded.train.labels == 0]) == {255}
    assert set(values[loaded.train.labels == 1]) == {19}  # dark beside the others
    assert loaded.form.levels == (0, 4095)
    assert any("8 images have more than 8 bits" in note for note in loaded.notes)
    assert "4095 becomes 255" in " ".join(loaded.notes)
    assert load(root).form == loaded.form  # from the cache


def test_pictures_that_are_nearly_black_are_told(tmp_path: Path) -> None:
    root = classes(tmp_path / "pets")
    for path in root.rglob("*.png"):
        picture(path, 12)
    assert any("brightest value of all images is 12" in note for note in load(root).notes)


def test_frames_transparency_and_other_kinds_are_told(tmp_path: Path) -> None:
    root = classes(tmp_path / "pets")
    image = Image.new("RGB", (40, 40), "red")
    frames = [Image.new("RGB", (40, 40), "blue")]
    image.save(root / "cat" / "a.gif", save_all=True, append_images=frames)
    image.convert("CMYK").save(root / "cat" / "b.jpg")
    image.convert("RGBA").save(root / "cat" / "c.png")
    image.save(root / "cat" / "d.jpg", exif=b"Exif\0\0no TIFF header at all")
    notes = " | ".join(load(root).notes)
    for line in (
        *("1 pictures have several frames or pages: the first one counts", "1 pictures are CMYK"),
        *("1 pictures have transparency", "1 pictures have EXIF data that cannot be read"),
    ):
        assert line in notes


def test_names_that_are_no_utf_8_or_break_a_line_become_printable(tmp_path: Path) -> None:
    names = [b"caf\xe9", b"two\nlines", "tür".encode()]
    root = tmp_path / "named"
    for name in names:
        folder = root / os.fsdecode(name)
        folder.mkdir(parents=True)
        for row in range(4):
            Image.new("L", (32, 32), row).save(folder / f"{row}.png")
    loaded = load(root)
    assert set(loaded.class_names) == {"caf\\xe9", "two\\nlines", "tür"}
    assert any(note.startswith("a class is called caf\\xe9, because") for note in loaded.notes)
    for text in (*loaded.class_names, *loaded.notes):
        text.encode()  # what cannot be written would raise
    assert load(root).class_names == loaded.class_names


# what is refused


def test_all_files_that_are_no_images_are_named_in_one_line(tmp_path: Path, cache: Path) -> None:
    root = classes(tmp_path / "pets")
    (root / "cat" / "empty.jpg").touch()
    for number in range(6):
        (root / "dog" / f"{number}.jpg").write_text("<html>404</html>")
    with pytest.raises(DataError, match="7 images cannot be read") as caught:
        load(root)
    message = str(caught.value)
    assert f"{root}/cat/empty.jpg (the file is empty)" in message
    assert f"{root}/dog/0.jpg (it is no picture of a known kind" in message
    assert "and 2 more. Repair or remove them" in message
    assert "\n" not in message
    assert kept(cache) == []


def test_all_pictures_that_are_cut_off_are_named(tmp_path: Path, cache: Path) -> None:
    root = classes(tmp_path / "pets")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8))
    for name in ("cat/a.jpg", "dog/b.jpg"):
        noise.save(root / name)
        (root / name).write_bytes((root / name).read_bytes()[:-200])
    with pytest.raises(DataError, match=r"2 images cannot be read.*a.jpg.*b.jpg"):
        load(root)
    assert kept(cache) == []


def test_a_decompression_bomb_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = classes(tmp_path / "pets")
    picture(root / "cat" / "huge.png", size=(90, 90))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    with pytest.raises(DataError, match=r"exceeds limit.*file=.*huge.png"):
        load(root)


def test_a_missing_folder_is_named(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(DataError, match=rf"does not exist. Received: source=folder:{tmp_path}/no"):
        load(tmp_path / "no")
    assert kept(cache) == []


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is not a folder"):
        load(tmp_path / "file")


def test_one_class_is_too_few(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(DataError, match=r"fewer than two classes.*sub_folders=\['cat'\]"):
        load(classes(tmp_path / "pets", names=("cat",)))
    assert kept(cache) == []


def test_an_empty_class_is_named(tmp_path: Path, cache: Path) -> None:
    root = classes(tmp_path / "pets")
    (root / "eel").mkdir()
    (root / "eel" / "notes.txt").write_text("no picture")
    with pytest.raises(DataError, match="class 'eel' has no images"):
        load(root)
    assert kept(cache) == []


def test_a_class_with_too_few_images_is_named_before_anything_is_decoded(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = classes(tmp_path / "pets")
    picture(root / "eel" / "0.png")
    monkeypatch.setattr(pictures, "decode", None)
    with pytest.raises(DataError, match=r"images=\{'eel': 1\}"):
        load(root)
    assert kept(cache) == []


def test_a_class_of_the_test_part_alone_is_named(tmp_path: Path, cache: Path) -> None:
    classes(tmp_path / "pets" / "train")
    classes(tmp_path / "pets" / "test", names=("cat", "eel"))
    with pytest.raises(DataError, match="class 'eel' of the test part is not in the train part"):
        load(tmp_path / "pets")
    assert kept(cache) == []


def test_a_file_that_is_no_image_is_named(tmp_path: Path, cache: Path) -> None:
    root = classes(tmp_path / "pets")
    (root / "dog" / "bad.jpg").write_text("no picture")
    with pytest.raises(DataError, match=rf"cannot be read.*file={root}/dog/bad.jpg"):
        load(root)
    assert kept(cache) == []


def test_an_image_that_is_cut_off_is_named(tmp_path: Path, cache: Path) -> None:
    root = classes(tmp_path / "pets")
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
    Image.fromarray(noise).save(root / "dog" / "cut.png")
    whole = (root / "dog" / "cut.png").read_bytes()
    (root / "dog" / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=rf"cannot be read.*file={root}/dog/cut.png"):
        load(root)
    assert kept(cache) == []


def test_unreadable_pictures_are_left_out_if_asked_and_named_each_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = classes(tmp_path / "pets", count=6)
    (root / "cat" / "empty.jpg").touch()
    photographs.cut(photographs.write(root / "dog" / "0.png", 1))
    caplog.set_level(logging.INFO, "flopsmith")
    for _ in range(2):  # from the cache as well
        assert len(load(root, skip_unreadable=True).train.images) == 11
        (line,) = [line for line in caplog.messages if "left out" in line]
        assert "left out 2 images that cannot be read: " in line
        assert f"{root}/cat/empty.jpg (the file is empty), {root}/dog/0.png (" in line
        caplog.clear()
    with pytest.raises(DataError, match="2 images cannot be read"):
        load(root)  # what was left out before is not left out in silence


def test_some_images_are_taken_without_the_unreadable_ones(tmp_path: Path) -> None:
    root = classes(tmp_path / "pets", count=6)
    for number in range(5):
        photographs.cut(photographs.write(root / "cat" / f"{number}.png", 0))
    config = DataConfig(source=f"folder:{root}", skip_unreadable=True)
    some, _ = datasets.sample(config, 0, 1, "train")
    assert len(some) == 1
    with pytest.raises(DataError, match="cannot be read"):
        datasets.sample(DataConfig(source=f"folder:{root}"), 0, 12, "train")


def test_a_class_of_two_images_needs_a_test_part_of_its_own(tmp_path: Path) -> None:
    root = classes(tmp_path / "pets", count=10)
    classes(root, count=2, names=("eel",))
    with pytest.raises(DataError, match=r"images=\{'eel': 2\}. Give at least 3 of each class"):
        load(root)
    for part in ("train", "test"):
        classes(tmp_path / "parts" / part, 2, ("cat", "dog"))
    assert [len(one.labels) for one in (load(tmp_path / "parts").train,)] == [2]


def test_two_hundred_classes_are_read_and_too_small_ones_counted(tmp_path: Path) -> None:
    names = tuple(f"class {number:03}" for number in range(200))
    for number, name in enumerate(names):
        for row in range(3):
            picture(tmp_path / "many" / name / f"{row}.png", number, (8, 8))
    loaded = load(tmp_path / "many")
    assert loaded.class_names == names
    assert [len(one) for one in (loaded.train, loaded.val, loaded.test)] == [200, 200, 200]
    for name in names[:30]:
        (tmp_path / "many" / name / "2.png").unlink()
    with pytest.raises(DataError, match=r"'class 009': 2\} and 20 more classes. Give at least 3"):
        load(tmp_path / "many")


def test_classes_that_the_test_part_lacks_are_told(tmp_path: Path) -> None:
    classes(tmp_path / "pets" / "train", 4, ("cat", "dog", "eel"))
    classes(tmp_path / "pets" / "test", 4, ("cat", "dog"))
    assert "no image in the test part of 1 of 3 classes: eel" in load(tmp_path / "pets").notes


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_images_need_not_be_square(tmp_path: Path, fit: str) -> None:
    root = tmp_path / "pets"
    for label, name in enumerate(("cat", "dog")):
        for number in range(4):
            made = Image.new(
                "RGB", (60, 20), "red"
            )  # twice as wide as 24x16 wants, at equal height
            made.paste("blue", (10, 0, 50, 20))
            (root / name).mkdir(parents=True, exist_ok=True)
            made.rotate(180 * label).save(root / name / f"{number}.png")
    loaded = load(root, image_size=[16, 24], fit=fit)
    assert loaded.image_shape == (16, 24, 3)
    row, column = loaded.train.images[0, 8], loaded.train.images[0, :, 12]
    assert (row[0, 0] > 200) == (fit != "crop")  # the red at the sides is cut off
    assert (column[0].max() == 0) == (fit == "pad")  # black above


def test_images_beyond_the_budget_are_compressed_or_left_in_their_files(tmp_path: Path) -> None:
    root = tmp_path / "pets"
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(0, 256, (50, 40, 3), np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    loaded = [load(root, image_size=32, cache=limit) for limit in ("4G", "36k", "10k", 0)]
    assert len({one.fingerprint for one in loaded}) == 1
    whole = np.asarray(loaded[0].train.images)
    for one in loaded[1:]:
        assert (np.asarray(one.train.images) == whole).all()
        assert (one.val.arrays()[0] == loaded[0].val.arrays()[0]).all()
    assert "12 are decoded from their own files each time" in loaded[3].notes[-1]
    assert "0 are kept" in loaded[3].notes[-1]


def test_a_folder_of_parquet_files_names_the_source_that_reads_them(tmp_path: Path) -> None:
    (tmp_path / "hf" / "data").mkdir(parents=True)
    (tmp_path / "hf" / "data" / "train-0.parquet").touch()
    with pytest.raises(DataError, match="are read by parquet:"):
        load(tmp_path / "hf")
