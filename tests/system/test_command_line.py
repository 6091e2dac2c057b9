"""The parser: suggestions, and positional arguments behind options."""

import argparse

import pytest

from pipeline.system.command_line import Parser


@pytest.fixture
def parser() -> Parser:
    made = Parser(prog="tool", allow_abbrev=False)
    found = made.add_subparsers(metavar="COMMAND")
    run = found.add_parser("run", allow_abbrev=False)
    run.add_argument("name", nargs="?")
    run.add_argument("--recipe")
    run.add_argument("--fresh", action="store_true")
    run.set_defaults(fault=lambda args: "no name" if args.name is None else None)
    found.add_parser("recipes")
    return made


@pytest.mark.parametrize(
    "words", ["run x", "run x --fresh", "run --fresh x", "run --recipe y x", "run --recipe=y x"]
)
def test_a_positional_argument_may_stand_behind_options(parser: Parser, words: str) -> None:
    assert parser.parse_args(words.split()).name == "x"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("recipe", "(did you mean recipes?)"),
        ("ruin", "(did you mean run?)"),
        ("run x --frehs", "unrecognized arguments: --frehs (did you mean --fresh?)"),
        ("run x --recpe=y", "unrecognized arguments: --recpe=y (did you mean --recipe?)"),
        ("run --recpe y", "unrecognized arguments: --recpe y (did you mean --recipe?)"),
        ("run x y z", "unrecognized arguments: y z"),
        ("run", "tool run: error: no name"),
    ],
)
def test_what_cannot_be_understood_is_named_with_what_was_meant(
    parser: Parser, words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(words.split())
    assert ended.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_a_word_like_no_other_gets_no_suggestion(
    parser: Parser, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parser.parse_args(["zzzzz"])
    assert "did you mean" not in capsys.readouterr().err


def test_the_parser_of_every_command_suggests_as_well(parser: Parser) -> None:
    (action,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    assert {type(one) for one in action.choices.values()} == {Parser}
