"""What the fork server of trials imports once, before it forks the first of them.

Python imports this module in the server, and nowhere else. So it also says how the server ends:
with the process that started it, and by no signal that is meant for that process.
"""

import importlib
import os

from pipeline.system import leash, stopping

leash.end_with(os.getppid())
stopping.ignore()
importlib.import_module("pipeline.search.trial")  # takes seconds, so it comes last
