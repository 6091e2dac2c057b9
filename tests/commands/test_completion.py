"""`flopsmith completion`: a script per shell, which knows commands and options."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import cwd as cwd
from support.commands import told as told


def completed(cwd: Path, line: str) -> list[str]:
    """What bash offers for the last word of a line, with the script `script`."""
    words = line.split()
    code = (
        "source ./script; name=$(complete -p flopsmith | sed 's/.*-F \\([^ ]*\\).*/\\1/'); "
        f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; "
        f"$name flopsmith {words[-1]}; echo ${{COMPREPLY[@]}}"
    )
    ended = subprocess.run(
        ["bash", "-c", code], cwd=cwd, capture_output=True, text=True, check=False
    )
    return ended.stdout.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_knows_commands_and_options(shell: str, told: Callable[..., str]) -> None:
    script = told("completion", shell)
    for word in ("predict", "compress", "--dry-run" if shell != "fish" else "dry-run"):
        assert word in script


def test_bash_completes_a_command(told: Callable[..., str], cwd: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    (cwd / "script").write_text(told("completion", "bash"))
    assert completed(cwd, "flopsmith pre") == ["predict"]


def test_bash_completes_a_file(told: Callable[..., str], cwd: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    (cwd / "script").write_text(told("completion", "bash"))
    (cwd / "model.tflite").touch()
    assert completed(cwd, "flopsmith predict mod") == ["model.tflite"]
