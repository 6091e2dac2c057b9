"""Pictures, folders and files of the system are told apart by their names."""

from pathlib import Path

from pipeline.data import folders


def test_pictures_are_known_by_their_suffix_in_any_case(tmp_path: Path) -> None:
    for name in ("a.JPG", "b.webp", "c.txt", "._d.jpg", ".hidden.png"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert sorted(one.name for one in folders.loose(tmp_path)) == ["a.JPG", "b.webp"]


def test_folders_of_the_system_are_no_sub_folders(tmp_path: Path) -> None:
    for name in ("cat", ".git", "__MACOSX", "@eaDir"):
        (tmp_path / name).mkdir()
    assert [one.name for one in folders.sub_folders(tmp_path)] == ["cat"]


def test_what_is_not_taken_is_called_by_its_kind(tmp_path: Path) -> None:
    (tmp_path / "dead.png").symlink_to(tmp_path / "nowhere")
    for name in ("list.TXT", "README", ".DS_Store"):
        (tmp_path / name).touch()
    kinds = {path.name: folders.kind_of(path) for path in tmp_path.iterdir()}
    assert kinds == {
        "dead.png": "broken links",
        "list.TXT": ".txt",
        "README": "without a suffix",
        ".DS_Store": "hidden",
    }
