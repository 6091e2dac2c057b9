"""Names of classes can be printed and written, and no two are alike."""

import os

import pytest

from pipeline.data.class_names import distinct, printable


@pytest.mark.parametrize(
    "name", ["cat", "tür", "猫", "two words", "\u3000", "👩\u200d🚀", "naïve\u00a0x", "a/b|c <i>"]
)
def test_names_of_any_language_stay_as_they_are(name: str) -> None:
    assert distinct([name, "other"]) == ((name, "other"), ())


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
        ("a\nb", "a\\nb"),
        ("a\tb\x00", "a\\tb\\x00"),
        ("a\u2028b", "a\\u2028b"),
        ("a\x85b", "a\\x85b"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_cannot_be_printed_is_escaped_with_a_line(name: str, shown: str) -> None:
    (made, _), (line,) = distinct([name, "other"])
    assert made == printable(name) == shown
    assert len(f"{made}\n".splitlines()) == 1
    assert shown in line
    made.encode()


def test_utf_8_is_read_as_such_where_the_locale_is_that_of_c() -> None:
    name = "tür".encode().decode("ascii", "surrogateescape")
    assert distinct([name, "other"]) == (("tür", "other"), ())


def test_equal_names_are_numbered() -> None:
    names, lines = distinct(["cat", "cat", "", "cat (2)"])
    assert names == ("cat", "cat (2)", "(no name)", "cat (2) (2)")
    assert lines[0] == "a class is called cat (2), because another one has the same name"
    assert len(lines) == 3
