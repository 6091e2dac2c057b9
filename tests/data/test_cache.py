"""The cache of decoded images: whole or not there, and written once."""

import errno
import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from pipeline.data import cache as decoded
from pipeline.data.cache import Contents, Source
from pipeline.data.pictures import Form
from pipeline.errors import DataError, OutputError
from pipeline.system import progress
from pipeline.system.files import cache_root

LABELS = np.array([0, 1, 1], np.int32)


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "flopsmith"


def pictures(value: int = 7) -> Iterator[np.ndarray]:
    for row in range(3):
        yield np.full((4, 5, 1), value + row, np.uint8)


def contents(value: int = 7) -> Contents:
    spans = {"train": (0, 2), "test": (2, 3)}
    return Contents(("a", "b"), LABELS, (4, 5, 1), spans, lambda rows: pictures(value))


def test_what_was_written_is_read_back_as_a_read_only_memory_map(cache: Path) -> None:
    decoded.write(cache / "k", contents(), "toy")
    found = decoded.read(cache / "k")
    assert found is not None
    assert isinstance(found.images, np.memmap)
    assert not found.images.flags.writeable
    assert found.images[:, 0, 0, 0].tolist() == [7, 8, 9]
    assert found.labels.tolist() == [0, 1, 1]
    assert found.class_names == ("a", "b")
    assert found.spans == {"train": (0, 2), "test": (2, 3)}


def test_the_cache_lies_where_xdg_says(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_root() == cache
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_root() == Path("/home/someone/.cache/flopsmith")


def test_the_folder_follows_content_and_form() -> None:
    one, two = Source(("npz", "1"), contents), Source(("npz", "2"), contents)
    forms = [Form(), Form((32, 32)), Form(channels=3), Form((32, 32), fit="pad")]
    folders = [decoded.folder_of(source, form) for source in (one, two) for form in forms]
    assert len(set(folders)) == 8


def test_the_fingerprint_follows_the_pixels(cache: Path) -> None:
    one = decoded.write(cache / "1", contents(7), "toy").fingerprint
    assert decoded.write(cache / "2", contents(7), "toy").fingerprint == one
    assert decoded.write(cache / "3", contents(8), "toy").fingerprint != one


def test_an_error_while_decoding_leaves_nothing_behind(cache: Path) -> None:
    def broken(rows: object) -> Iterator[np.ndarray]:
        yield from list(pictures())[:2]
        raise DataError("broken")

    with pytest.raises(DataError, match="broken"):
        decoded.write(cache / "k", Contents(("a",), LABELS, (4, 5, 1), {}, broken), "toy")
    assert list(cache.iterdir()) == []


def test_an_interrupt_while_decoding_leaves_nothing_behind(cache: Path) -> None:
    def interrupted(rows: object) -> Iterator[np.ndarray]:
        yield next(pictures())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decoded.write(cache / "k", Contents(("a",), LABELS, (4, 5, 1), {}, interrupted), "toy")
    assert list(cache.iterdir()) == []


def test_what_a_killed_process_left_is_not_read(cache: Path) -> None:
    killed = cache / f"{decoded.UNFINISHED}x"
    killed.mkdir(parents=True)
    (killed / decoded.IMAGES).write_bytes(b"half")
    assert decoded.read(cache / "k") is None
    assert len(decoded.write(cache / "k", contents(), "toy").labels) == 3


@pytest.mark.parametrize("file", [decoded.IMAGES, decoded.PIXELS])
def test_what_a_process_killed_days_ago_left_is_removed(cache: Path, file: str) -> None:
    old, new = cache / f"{decoded.UNFINISHED}old", cache / f"{decoded.UNFINISHED}new"
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / file).write_bytes(b"half")
    days_ago = time.time() - 2 * decoded.STALE_SECONDS
    os.utime(old / file, (days_ago, days_ago))
    decoded.write(cache / "k", contents(), "toy")
    assert not old.exists()
    assert new.exists()  # its process may still be at work


@pytest.mark.parametrize("file", [decoded.IMAGES, decoded.LABELS, decoded.META])
@pytest.mark.parametrize("damage", ["gone", "empty", "cut"])
def test_a_damaged_entry_is_written_anew(cache: Path, file: str, damage: str) -> None:
    decoded.write(cache / "k", contents(), "toy")
    path = cache / "k" / file
    whole = path.read_bytes()
    path.unlink() if damage == "gone" else path.write_bytes(
        b"" if damage == "empty" else whole[:-5]
    )
    assert decoded.read(cache / "k") is None
    assert decoded.write(cache / "k", contents(), "toy").images[2, 0, 0, 0] == 9


def test_labels_of_another_length_are_damage(cache: Path) -> None:
    decoded.write(cache / "k", contents(), "toy")
    np.save(cache / "k" / decoded.LABELS, LABELS[:2])
    assert decoded.read(cache / "k") is None


def test_of_two_processes_the_slower_one_uses_the_other_copy(cache: Path) -> None:
    def slow(rows: object) -> Iterator[np.ndarray]:
        yield from pictures(7)
        decoded.write(cache / "k", contents(100), "toy")  # the faster one, told by its pixels

    slower = Contents(("a", "b"), LABELS, (4, 5, 1), {}, slow)
    assert decoded.write(cache / "k", slower, "toy").images[0, 0, 0, 0] == 100
    assert [path.name for path in cache.iterdir()] == ["k"]


def test_a_copy_finished_at_the_last_moment_is_used(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = decoded._rename

    def late(temporary: Path, folder: Path) -> None:
        monkeypatch.setattr(decoded, "_rename", rename)
        decoded.write(cache / "k", contents(100), "toy")
        rename(temporary, folder)

    monkeypatch.setattr(decoded, "_rename", late)
    assert decoded.write(cache / "k", contents(7), "toy").images[0, 0, 0, 0] == 100
    assert [path.name for path in cache.iterdir()] == ["k"]


def test_a_disk_too_small_is_told_with_the_bytes_needed(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(100, 50, 50))
    with pytest.raises(DataError, match="needed_bytes=72, free_bytes=50"):
        decoded.write(cache / "k", contents(), "toy")
    assert not cache.exists()


def test_a_disk_that_fills_up_is_an_error_of_one_line(cache: Path) -> None:
    def full(rows: object) -> Iterator[np.ndarray]:
        yield next(pictures())
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match=r"No space left on device\. Received: folder="):
        decoded.write(cache / "k", Contents(("a",), LABELS, (4, 5, 1), {}, full), "toy")
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_told(cache: Path) -> None:
    cache.parent.write_text("a file where a folder should be")
    with pytest.raises(OutputError, match="XDG_CACHE_HOME"):
        decoded.write(cache / "k", contents(), "toy")


def test_progress_is_logged_without_a_terminal(
    cache: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", -1.0)
    with caplog.at_level(logging.INFO, "flopsmith"):
        decoded.write(cache / "k", contents(), "toy")
    assert "decoding toy: 2 of 3 images, 66%, about 1 s left" in caplog.messages


def test_progress_is_a_bar_on_a_terminal(
    cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    decoded.write(cache / "k", contents(), "toy")
    shown = capsys.readouterr()
    assert "decoding toy" in shown.err
    assert shown.out == ""
