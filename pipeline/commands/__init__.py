"""One file per command; the file name is what is typed after `flopsmith`.

A command is a module with `add(commands)`, which adds a parser of that name, with its arguments and
`set_defaults(call=...)`; `call(args)` runs it and may return an exit code. With `guarded=True` in
`set_defaults`, it reads foreign model files, and runs in a child process.
"""

from collections.abc import Iterator
from types import ModuleType

from pipeline.system import plugins

EXAMPLES = """examples:
  flopsmith recipes                                     what can be run
  flopsmith run --recipe smoke                          a first run on built-in images, minutes
  flopsmith run --recipe mobile --data folder:photos    on your own: photos/CLASS/IMAGE.jpg
  flopsmith run --recipe mobile --set "budget.flops=8M search.trials=40"
  flopsmith predict runs/mobile/export/model.tflite photo.jpg
  flopsmith compress my.keras --data folder:photos      a model that you have trained yourself

A run leaves its files in runs/RECIPE/export: model.tflite, labels.txt, a report and more.
`flopsmith COMMAND --help` lists the options of a command."""


def modules() -> Iterator[ModuleType]:
    """Every command, by name."""
    for name in plugins.names(__name__):
        yield plugins.load(__name__, name, "command")
