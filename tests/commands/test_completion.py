"""`flopsmith completion`: a script per shell, which knows commands and options."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import cwd as cwd
from support.commands import told as told


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_knows_commands_and_options(shell: str, told: Callable[..., str]) -> None:
    script = told("completion", shell)
    for word in ("predict", "compress", "--dry-run" if shell != "fish" else "dry-run"):
        assert word in script


def test_bash_completes_a_command(told: Callable[..., str], cwd: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    (cwd / "script").write_text(told("completion", "bash"))
    code = (
        "source script; name=$(complete -p flopsmith | sed 's/.*-F \\([^ ]*\\).*/\\1/'); "
        "COMP_WORDS=(flopsmith pre); COMP_CWORD=1; $name flopsmith pre; echo ${COMPREPLY[@]}"
    )
    ended = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=False)
    assert ended.stdout.split() == ["predict"]
