"""A folder for the temporary files of this process, which does not outlive it, however it ends.

TensorFlow writes a file for each function that it translates, and deletes it at a regular exit
alone. Such files, and those of processes that were killed, would fill the system's folder.
"""

import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from multiprocessing import util
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: folders of killed processes stay
    fcntl = None  # type: ignore[assignment]

PREFIX = "flopsmith-scratch-"
LOCK = ".lock"  # locked while the process lives; the system unlocks it when that ends
VARIABLE = "TMPDIR"
LAST = -1000  # after multiprocessing has removed what it keeps there
SOCKET_MOST = 70  # bytes of a folder in which multiprocessing can name a socket
SHORT = ("/tmp", "/var/tmp", "/dev/shm")  # multiprocessing makes a private folder there


@functools.cache
def folder() -> Path:
    """The folder of this process, which is deleted when it exits.

    Folders that killed processes have left are deleted now.
    """
    _sweep(Path(tempfile.gettempdir()))
    place = Path(tempfile.mkdtemp(prefix=PREFIX))
    if len(os.fsencode(place)) > SOCKET_MOST:
        _shorten()
    _lock(place)
    util.Finalize(None, shutil.rmtree, (place, True), exitpriority=LAST)
    return place


@contextlib.contextmanager
def used() -> Iterator[None]:
    """Make temporary files in the folder of this process inside."""
    earlier, variable = tempfile.tempdir, os.environ.get(VARIABLE)
    use(folder())
    try:
        yield
    finally:
        tempfile.tempdir = earlier
        if variable is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = variable


def _shorten() -> None:
    """Let multiprocessing keep its sockets elsewhere: the system bounds the length of their names.

    Its folder stays where it is made first.
    """
    earlier = tempfile.gettempdir()
    places = (earlier, *SHORT)
    fitting = [one for one in places if len(os.fsencode(one)) <= SOCKET_MOST]
    writable = [one for one in fitting if os.access(one, os.W_OK | os.X_OK)]
    tempfile.tempdir = next(iter(writable), earlier)
    try:
        util.get_temp_dir()
    finally:
        tempfile.tempdir = earlier


def use(place: Path) -> None:
    """Make the temporary files of this process in a folder from now on."""
    tempfile.tempdir = str(place)
    os.environ[VARIABLE] = str(place)


def _lock(place: Path) -> None:
    """Lock a new folder for as long as this process lives."""
    if fcntl is None:
        return
    new = place / f"{LOCK}.new"
    lock = os.open(new, os.O_CREAT | os.O_WRONLY, 0o600)  # closed by the system alone
    fcntl.flock(lock, fcntl.LOCK_EX)
    new.rename(place / LOCK)  # only now may others look whether it is locked


def _sweep(base: Path) -> None:
    """Delete the folders of processes that have ended."""
    if fcntl is None:
        return
    for path in base.glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError):  # of another user, locked, or deleted meanwhile
            if path.parent.is_symlink() or path.stat().st_uid != os.getuid():
                continue
            with path.open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path.parent, ignore_errors=True)
