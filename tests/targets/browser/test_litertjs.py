"""LiteRT.js comes from npm once, whole or not at all."""

from pathlib import Path

import pytest
from support.programs import failing

from pipeline.errors import ToolError
from pipeline.targets import browser
from pipeline.targets.browser import litertjs

LACKS = browser.missing()
pytestmark = pytest.mark.skipif(LACKS is not None, reason=str(LACKS))


def test_a_missing_npm_is_named_with_how_to_install_it(programs: Path, another_cache: Path) -> None:
    failing(programs / "chromium", "")
    assert "Install Node.js with npm" in str(browser.missing())
    with pytest.raises(ToolError, match="no npm on the PATH"):
        litertjs.modules()


def test_npm_is_needed_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = litertjs.modules()
    monkeypatch.setenv("PATH", "")
    assert litertjs.modules() == modules
    assert litertjs.missing() is None


def test_what_npm_says_against_an_installation_is_told_and_nothing_is_left(
    programs: Path, another_cache: Path
) -> None:
    failing(programs / "npm", "npm error code EINTEGRITY")
    with pytest.raises(ToolError, match=r"cannot install @litertjs/core .*code EINTEGRITY"):
        litertjs.modules()
    assert list(another_cache.iterdir()) == []
