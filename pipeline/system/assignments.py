"""`a.b=1 c="two words" d=[x, y]`: settings in one line of text, with quotes as in a shell."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

PAIRS = {"[": "]", "{": "}"}
FLOW = re.compile(r"[\w.]+=[\[{]")  # an assignment whose value is a list or a mapping of YAML


def read(text: str) -> Iterator[tuple[str, Any]]:
    """Yield every key with its value, which is YAML; what is quoted may have spaces.

    Raises:
        ValueError: the text is not `KEY=VALUE KEY=VALUE ...`; names the word, and says why.

    >>> dict(read("a.b=1 c='two words' d=[x, y] e=folder:/my\\\\ photos f=folder:'old ones'"))
    {'a.b': 1, 'c': 'two words', 'd': ['x', 'y'], 'e': 'folder:/my photos', 'f': 'folder:old ones'}
    """
    for word in _words(text):
        key, equals, raw = word.partition("=")
        if not equals or not all(key.split(".")):
            raise ValueError(f"{word!r}. Expected: key=value, with quotes around spaces")
        try:
            yield key, _value(raw)
        except yaml.YAMLError as error:
            raise ValueError(f"{word!r}") from error


def _words(text: str) -> Iterator[str]:
    """Split at spaces that are neither quoted, nor behind a backslash, nor within brackets."""
    start, at, opened, quote = 0, 0, list[str](), ""
    while at < len(text):
        letter = text[at]
        if letter == "\\" and quote != "'":
            at += 1  # the next letter stands for itself
        elif quote:
            quote = "" if letter == quote else quote
        elif _quotes(text, at):
            quote = letter
        elif letter.isspace() and not opened:
            if at > start:
                yield text[start:at]
            start = at + 1
        elif letter in PAIRS and (opened or FLOW.fullmatch(text[start : at + 1])):
            opened.append(PAIRS[letter])
        elif opened and letter == opened[-1]:
            opened.pop()
        at += 1
    if quote or opened:
        what = "quote" if quote else "bracket"
        raise ValueError(f"{text[start:]!r}, with a {what} that is not closed")
    if at > start:
        yield text[start:]


def _quotes(text: str, at: int) -> bool:
    """Whether the letter begins a quotation; behind a letter or digit, `'` is an apostrophe."""
    return text[at] == '"' or (text[at] == "'" and not (at and text[at - 1].isalnum()))


def _value(raw: str) -> Any:
    """Read a value: YAML, unless a part of it is quoted; then it is text, or a list or mapping."""
    if raw[:1] in PAIRS:
        return yaml.safe_load(raw)
    text = _unquoted(raw)
    if text == raw:
        return yaml.safe_load(raw)
    if text[:1] in PAIRS:
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError:
            return text
    return text


def _unquoted(raw: str) -> str:
    """The text without its quotes and backslashes, as a shell reads it."""
    kept, at, quote = list[str](), 0, ""
    while at < len(raw):
        letter = raw[at]
        if letter == "\\" and quote != "'" and raw[at + 1 : at + 2] in (*" \t\"'\\",):
            at += 1
            kept.append(raw[at])
        elif letter == quote:
            quote = ""
        elif not quote and _quotes(raw, at):
            quote = letter
        else:
            kept.append(letter)
        at += 1
    return "".join(kept)
