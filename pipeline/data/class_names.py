"""Names of classes that every file and terminal can hold: one line each, no two alike."""

import unicodedata
from collections.abc import Sequence

UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}  # control characters, bytes that are no UTF-8, ends of lines


def printable(text: str) -> str:
    r"""Write what cannot be printed as an escape; all other text stays as it is.

    A folder whose name is no UTF-8 comes from Python with its bytes as surrogates. So does any name
    beyond ASCII where the locale is that of C, and is UTF-8 nevertheless.

    >>> printable("caf\udce9"), printable("two\nlines"), printable("caf\udcc3\udca9")
    ('caf\\xe9', 'two\\nlines', 'café')
    """
    return "".join(map(_escaped, _as_utf8(text)))


def _as_utf8(text: str) -> str:
    """The same text, read as UTF-8 if its bytes are that and the locale did not know it."""
    try:
        return text.encode("utf-8", "surrogateescape").decode()
    except UnicodeError:
        return text


def _escaped(letter: str) -> str:
    if unicodedata.category(letter) not in UNPRINTABLE:
        return letter
    if "\udc80" <= letter <= "\udcff":  # how Python holds a byte that is no UTF-8
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode("ascii")


def distinct(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Make names printable and different.

    Args:
        names: Of all classes, as the source has them.

    Returns:
        The names, and a line for every one that had to be changed.
    """
    made: list[str] = []
    lines: list[str] = []
    for name in map(_as_utf8, names):
        wanted = shown = printable(name) or "(no name)"
        count = 1
        while shown in made:
            count += 1
            shown = f"{wanted} ({count})"
        made.append(shown)
        if shown != name:
            lines.append(f"a class is called {shown}, {_why(name)}")
    return tuple(made), tuple(lines)


def _why(name: str) -> str:
    if not name:
        return "because it has no name"
    if name != printable(name):
        return "because its name is no UTF-8, or holds what cannot be printed"
    return "because another one has the same name"
