"""A parser of the command line that says what was meant, and where its words may stand."""

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

CHOICES = re.compile(r"invalid choice: '(.*?)' \(choose from (.*)\)")


class Parser(argparse.ArgumentParser):
    """argparse's parser, which also suggests what a misspelt command or option was meant to be.

    A positional argument that may be left out (`nargs="?"`) is also found behind an option. A
    command may set the default `fault`, a function of the parsed arguments that returns what is
    wrong with them, or None.
    """

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse all arguments; ends the process with exit code 2 if they cannot be understood."""
        words = list(sys.argv[1:] if args is None else args)
        found, extras = self.parse_known_args(words, namespace)
        owner = self._owner(words)
        if len(extras) == 1 and not extras[0].startswith("-"):
            extras = [] if owner._take(extras[0], found) else extras
        if extras:
            owner.error(f"unrecognized arguments: {' '.join(_with_values(words, extras))}")
        if said := getattr(found, "fault", lambda _: None)(found):
            owner.error(said)
        return found

    def error(self, message: str) -> NoReturn:
        """Print the usage and what is wrong, with a suggestion, and end with exit code 2."""
        hint = ""
        if choice := CHOICES.search(message):
            hint = _close(choice[1], re.findall(r"[\w.-]+", choice[2]))
        elif message.startswith("unrecognized arguments: -"):
            hint = _close(message.split()[2].partition("=")[0], self._option_string_actions)
        super().error(f"{message}{hint}")

    def _owner(self, words: Sequence[str]) -> "Parser":
        """The parser of the command among the words; this one if there is no command."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                known = [action.choices[word] for word in words if word in action.choices]
                return known[0] if known else self
        return self

    def _take(self, word: str, found: argparse.Namespace) -> bool:
        """Give the word to an optional positional argument that has no value yet."""
        for action in self._get_positional_actions():
            if action.nargs == "?" and getattr(found, action.dest) is None:
                setattr(found, action.dest, word)
                return True
        return False


def _with_values(words: Sequence[str], extras: Sequence[str]) -> list[str]:
    """The words that nothing takes, each unknown option with the word behind it."""
    shown = []
    for before, word in zip(["", *words], words, strict=False):
        value = before in extras and before.startswith("-") and not word.startswith("-")
        if word in extras or value:
            shown.append(word)
    return shown


def _close(word: str, known: Any) -> str:
    """A suggestion in brackets, empty where no known word is alike."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
