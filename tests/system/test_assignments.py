"""Settings in one line: quotes, spaces, lists and mappings."""

import re
from typing import Any

import pytest

from pipeline.system import assignments


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("  a=1   b=x  ", {"a": 1, "b": "x"}),
        ("a=[x, y] b=2", {"a": ["x", "y"], "b": 2}),
        ("a={k: v, l: [1, 2]} b=2", {"a": {"k": "v", "l": [1, 2]}, "b": 2}),
        ("a=\"two words\" b='three more words'", {"a": "two words", "b": "three more words"}),
        ('a=folder:"my photos" b=2', {"a": "folder:my photos", "b": 2}),
        ("a=folder:/my\\ photos b=2", {"a": "folder:/my photos", "b": 2}),
        ('a="[x, y]"', {"a": ["x", "y"]}),
        ('a="[draft of it"', {"a": "[draft of it"}),
        ("a=['x y', z]", {"a": ["x y", "z"]}),
        ("a=[[1, 2], [3]]", {"a": [[1, 2], [3]]}),
        ("a=it's b=O'Neil", {"a": "it's", "b": "O'Neil"}),
        ('a="it\'s here"', {"a": "it's here"}),
        ('a="say \\"yes\\""', {"a": 'say "yes"'}),
        ("a=", {"a": None}),
        ('a=""', {"a": ""}),
        ('a="5"', {"a": "5"}),
        ("a=b=c", {"a": "b=c"}),
        ("a=folder:/data/[old", {"a": "folder:/data/[old"}),
        ("a=1\nb=2", {"a": 1, "b": 2}),
    ],
)
def test_a_line_of_settings_is_read(text: str, found: dict[str, Any]) -> None:
    assert dict(assignments.read(text)) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a=[x, y", "a bracket that is not closed"),
        ('a="x y', "a quote that is not closed"),
        ("a=folder:my photos", "'photos'. Expected: key=value, with quotes around spaces"),
        ("a", "Expected: key=value"),
        ("a..b=1", "Expected: key=value"),
    ],
)
def test_what_cannot_be_read_says_why(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        dict(assignments.read(text))
