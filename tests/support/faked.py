"""Trials that train nothing; imports little, since the process of every trial imports it anew."""

import json
import os
import signal
import time
from typing import Any

from pipeline.search import trial
from pipeline.system.files import write_atomic

KILLED, RAISED = "2", "4"  # numbers of trials


def pretend(task: trial.Task, **options: Any) -> None:
    """A trial that trains nothing: its score is that of its learning rate.

    By another objective than accuracy, the worst is the best.
    """
    directory, epochs = task.directory, task.epochs
    number = directory.name.removeprefix("trial_").lstrip("0")
    if number == KILLED:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == RAISED:
        return trial.fail(directory, "Traceback\nMemoryError: 12 GiB are not there", 0.1, epochs)
    score = 1 - abs(task.settings["learning_rate"] - 0.003)
    found = {
        "epochs": epochs,
        "val_accuracy": score,
        "val_loss": 1 - score,
        "history": {"val/loss": [1 - score] * epochs, "val/accuracy": [score] * epochs},
        "error": None,
        "seconds": 0.1,
        "epoch_seconds": 0.01,
    }
    if task.objective != "accuracy":
        found[f"val_{task.objective}"] = 1 - score
    (directory / trial.MODEL).write_text("a model")
    write_atomic(directory / trial.RESULT, json.dumps(found))


def slowly(task: trial.Task, **options: Any) -> None:
    time.sleep(0.3)
    pretend(task, **options)


def unevenly(task: trial.Task, **options: Any) -> None:
    """A trial that pretends, and takes the longer the earlier it is of every three."""
    number = int(task.directory.name.removeprefix("trial_"))
    time.sleep(0.4 * (2 - number % 3))
    pretend(task, **options)


def overlapping(task: trial.Task, **options: Any) -> None:
    """A trial that says how many others run when it begins and ends."""
    running = task.directory.parent / f"running-{task.directory.name}"
    running.touch()
    for _ in range(4):
        count = len(list(task.directory.parent.glob("running-*")))
        with (task.directory.parent / "seen").open("a") as seen:
            seen.write(f"{count}\n")
        time.sleep(0.1)
    running.unlink()
    pretend(task, **options)
