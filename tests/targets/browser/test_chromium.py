"""One page in headless Chromium; every process of it ends with the context."""

import os
import time
from pathlib import Path

import pytest
from support.programs import failing

from pipeline.errors import ToolError
from pipeline.targets.browser import chromium
from pipeline.targets.browser.server import serving

needs_chromium = pytest.mark.skipif(not chromium.find(), reason=str(chromium.missing()))


def alive(group: int) -> bool:
    """Whether a process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@needs_chromium
def test_a_page_is_opened_and_no_process_is_left(tmp_path: Path) -> None:
    page = b"<script>fetch('/told', {method: 'POST', body: 'here'})</script>"
    allowed = page.replace(b"<script>", b"<script nonce=map>")
    with serving({"/page.html": allowed}, tmp_path) as server:
        with chromium.opened(f"{server.url}/page.html") as opened:
            assert server.posted.get(timeout=60) == b"here"
            assert opened.process.poll() is None
        end = time.monotonic() + 10
        while alive(opened.process.pid) and time.monotonic() < end:
            time.sleep(0.05)  # killed processes wait for the system to take them away
        assert not alive(opened.process.pid)


def test_the_last_words_of_a_browser_are_its_reason(programs: Path) -> None:
    failing(programs / "chromium", "No usable sandbox!")
    with chromium.opened("about:blank") as opened:
        opened.process.wait(timeout=10)
        assert opened.reason() == "No usable sandbox!"


def test_the_first_browser_of_the_path_is_taken(programs: Path) -> None:
    for name in ("google-chrome", "chromium-browser"):
        failing(programs / name, "")
    assert chromium.find() == str(programs / "chromium-browser")
    assert chromium.missing() is None


def test_without_a_browser_there_is_an_error_that_says_what_to_install(programs: Path) -> None:
    assert chromium.find() is None
    with pytest.raises(ToolError, match="apt-get install chromium"), chromium.opened("about:blank"):
        pass
