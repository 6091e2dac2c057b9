"""`flopsmith completion`: print a script that lets a shell complete commands and options."""

import argparse
from typing import Any

from pipeline import commands as all_commands

SHELLS = ("bash", "zsh", "fish")


def add(commands: Any) -> None:
    """Add the command and its arguments."""
    completion = commands.add_parser(
        "completion",
        help="print a script with which bash, zsh or fish complete commands and options",
        description="Print a script with which a shell completes commands, options and file names "
        "of flopsmith when Tab is pressed.",
        epilog="examples:\n"
        '  eval "$(flopsmith completion bash)"            in ~/.bashrc\n'
        '  eval "$(flopsmith completion zsh)"             in ~/.zshrc, after compinit\n'
        "  flopsmith completion fish | source             in ~/.config/fish/config.fish",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    completion.add_argument("shell", choices=SHELLS, help="the shell that you use")
    completion.set_defaults(call=call)


def call(args: argparse.Namespace) -> None:
    """Run the command."""
    import shtab

    parser = all_commands.parser()
    _offer_files(parser, shtab.FILE)
    print(shtab.complete(parser, shell=args.shell))


def _offer_files(parser: argparse.ArgumentParser, files: Any) -> None:
    """Complete file names wherever a value is free text."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _offer_files(command, files)
        elif action.nargs != 0 and action.choices is None:
            action.complete = files  # type: ignore[attr-defined]
