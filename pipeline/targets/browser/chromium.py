"""Open one page in Chromium without a window, and end all its processes afterwards."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import ToolError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-dev-shm-usage",  # which has 64 MB in a container, too little for a model
    "--disable-sync",
    # no host but this machine is ever resolved
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def missing() -> str | None:
    """What must be installed before `opened` can be called; None: nothing."""
    if find():
        return None
    return (
        f"it needs Chromium. Received: none of {', '.join(NAMES)} on the PATH. Install it "
        "(on Debian: apt-get install chromium)"
    )


def find() -> str | None:
    """The path of the first browser of `NAMES` on the PATH."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """A page that is open in a browser of its own."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    def reason(self) -> str:
        """The last line that the browser printed, which tells why it ended."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "no reason")[:300]


@contextmanager
def opened(url: str) -> Iterator[Page]:
    """Open `url` with an empty profile; afterwards no process and no file of it is left.

    Raises:
        ToolError: there is no browser; says how to install it.
    """
    browser = find()
    if browser is None:
        raise ToolError(str(missing()))
    root = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium has no sandbox for root
    with tempfile.TemporaryDirectory(prefix="flopsmith-", ignore_cleanup_errors=True) as folder:
        profile, log = Path(folder) / "profile", Path(folder) / "log"
        with log.open("wb") as said:
            process = subprocess.Popen(
                [browser, *FLAGS, *root, f"--user-data-dir={profile}", url],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        try:
            yield Page(process, log)
        finally:
            with suppress(ProcessLookupError):  # all its processes have ended
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
