"""Text and tables in Markdown, with special characters escaped."""

import re
from collections.abc import Sequence


def text(words: str) -> str:
    """Make any text one line of Markdown that reads as itself, also in a table.

    >>> text("a *b* | c")
    'a \\\\*b\\\\* \\\\| c'
    """
    line = " ".join(words.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\|`*_\[\]])", r"\\\1", line)


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """Write a table whose first `words` columns hold words, the others numbers."""
    align = ["---"] * words + ["---:"] * (len(titles) - words)
    lines = [titles, align, *rows]
    return "\n".join("| " + " | ".join(map(text, line)) + " |" for line in lines)
