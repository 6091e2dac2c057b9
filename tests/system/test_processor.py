"""oneDNN is preferred where it is faster, unless the user has said otherwise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.system import processor


@pytest.mark.parametrize(
    ("flags", "given", "expected"),
    [
        ("fpu sse2 avx2 avx512f avx512_vnni", None, "1"),
        ("fpu sse2 avx2", None, None),
        ("fpu sse2 avx2 avx512f", "0", "0"),
        (None, None, None),
    ],
)
def test_it_goes_by_the_processor_and_by_the_user(
    flags: str | None,
    given: str | None,
    expected: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    monkeypatch.setenv(processor.VARIABLE, given or "")
    if given is None:
        monkeypatch.delenv(processor.VARIABLE)
    cpuinfo = tmp_path / "cpuinfo"
    if flags is not None:
        cpuinfo.write_text(f"model name : any\nflags : {flags}\n", encoding="utf-8")
    assert processor.prefer_onednn(cpuinfo) == (expected == "1")
    assert os.environ.get(processor.VARIABLE) == expected


def test_a_process_that_has_tensorflow_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", sys)
    monkeypatch.delenv(processor.VARIABLE, raising=False)
    (tmp_path / "cpuinfo").write_text("flags : avx512f\n", encoding="utf-8")
    assert not processor.prefer_onednn(tmp_path / "cpuinfo")
    assert processor.VARIABLE not in os.environ


def test_a_command_prefers_it_before_tensorflow_is_imported() -> None:
    code = (
        "import os, sys; from pipeline import __main__ as cli; cli._quieten(); "
        "assert 'tensorflow' not in sys.modules; from pipeline.system import processor as p; "
        "has = 'avx512f' in p.CPUINFO.read_text() if p.CPUINFO.exists() else False; "
        "assert (os.environ.get(p.VARIABLE) == '1') == has"
    )
    clean = {k: v for k, v in os.environ.items() if k != processor.VARIABLE}
    subprocess.run([sys.executable, "-c", code], check=True, env=clean)
