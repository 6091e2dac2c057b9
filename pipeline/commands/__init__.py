"""One file per command; the file name is what is typed after `flopsmith`.

A command is a module with `add(commands)`, which adds a parser of that name, with its arguments and
`set_defaults(call=...)`; `call(args)` runs it and may return an exit code. With `guarded=True` in
`set_defaults`, it reads foreign model files, and runs in a child process.
"""

import argparse
from collections.abc import Iterator
from types import ModuleType

from pipeline import __version__
from pipeline.system import plugins
from pipeline.system.command_line import Parser

EXAMPLES = """examples:
  flopsmith recipes                                     what can be run
  flopsmith run smoke                                   a first run on built-in images, minutes
  flopsmith run mobile --data photos --dry-run          what a run would do, and how long it takes
  flopsmith run mobile --data photos                    on your own: photos/CLASS/IMAGE.jpg
  flopsmith run mobile --set "budget.flops=8M search.trials=40"
  flopsmith predict runs/mobile/export/model.tflite photo.jpg
  flopsmith compress my.keras --data photos             a model that you have trained yourself
  flopsmith ui                                          the runs so far, in a browser

A run leaves its files in runs/RECIPE/export: model.tflite, labels.txt, a report and more.
`flopsmith COMMAND --help` lists the options of a command."""


def modules() -> Iterator[ModuleType]:
    """Every command, by name."""
    for name in plugins.names(__name__):
        yield plugins.load(__name__, name, "command")


def parser() -> Parser:
    """The parser of the whole command line; without a command it prints the help."""
    made = Parser(
        prog="flopsmith",
        description="Find, train and compress an image classifier within a budget of FLOPs, and\n"
        "export it as .tflite for phones, Edge TPUs and browsers.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    version = f"flopsmith {__version__}"
    made.add_argument("-V", "--version", action="version", version=version)
    made.set_defaults(call=lambda _: made.print_help())
    found = made.add_subparsers(metavar="COMMAND")
    for command in modules():
        command.add(found)
    return made
