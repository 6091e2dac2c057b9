"""The npm package of LiteRT.js: installed once, as `package-lock.json` pins it, and kept."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from pipeline.data import cache
from pipeline.errors import OutputError, ToolError
from pipeline.system.files import cache_root

HERE = Path(__file__).parent
NAME = "@litertjs/core"
PINS = ("package.json", "package-lock.json")  # versions, and the hashes that npm checks
NPM = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
SECONDS = 300  # longest time of an installation


def version() -> str:
    """The version that is pinned."""
    pins = json.loads((HERE / PINS[1]).read_text(encoding="utf-8"))
    return str(pins["packages"][f"node_modules/{NAME}"]["version"])


def missing() -> str | None:
    """What must be installed before `modules` can be called; None: nothing."""
    if _place().is_dir() or shutil.which("npm"):
        return None
    return (
        f"LiteRT.js comes from npm. Received: no npm on the PATH. Install Node.js with npm, or "
        f"copy {_place()} from a machine that has it"
    )


def modules() -> Path:
    """The folder `node_modules` that holds LiteRT.js, which is installed if it is not there.

    Raises:
        ToolError: npm is not there, or cannot install it; says why.
        OutputError: the folder cannot be written.
    """
    place = _place()
    if not place.is_dir():
        if lacks := missing():
            raise ToolError(lacks)
        try:
            _install(place)
        except OSError as error:
            raise OutputError(
                f"cannot keep LiteRT.js: {error.strerror or error}. Received: folder={place}. "
                "Make room there, or set XDG_CACHE_HOME"
            ) from error
    return place / "node_modules"


def _place() -> Path:
    return cache_root() / f"litertjs-{version()}"


def _install(place: Path) -> None:
    """Install into a folder of another name, which becomes `place` once it is whole."""
    place.parent.mkdir(parents=True, exist_ok=True)
    # with this prefix the clean-up of the cache also finds what a killed process left
    temporary = Path(tempfile.mkdtemp(dir=place.parent, prefix=f"{cache.UNFINISHED}litertjs-"))
    try:
        for name in PINS:
            shutil.copyfile(HERE / name, temporary / name)
        _run_npm(temporary)
        try:
            temporary.rename(place)
        except OSError:
            if not place.is_dir():  # no other process was faster
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _run_npm(folder: Path) -> None:
    try:
        done = subprocess.run(
            [*NPM, "--loglevel=error"],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolError(
            f"npm did not install LiteRT.js in time. Received: {SECONDS} seconds. Try again"
        ) from error
    if done.returncode:
        said = [line.removeprefix("npm error").strip() for line in done.stderr.splitlines()]
        reason = "; ".join(line for line in said if line) or f"exit code {done.returncode}"
        raise ToolError(
            f"npm cannot install {NAME} {version()}. Received: {reason[:500]}. "
            "It is needed once; try again with a connection to the npm registry"
        )
