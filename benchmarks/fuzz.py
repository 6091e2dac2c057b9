"""Broken `.tflite` files through `check`, `bench` and `predict`: an answer or one line, each time.

    python benchmarks/fuzz.py [--count 10000] [--seed 0]

Mutates small int8 and float networks: truncated, noise behind the identifier, bits flipped, 32
bytes smeared, whole numbers replaced by extreme ones (sizes, offsets, indices), blocks moved. Every
file goes through one command, in turn, as from a shell but forked from a process that has imported
everything. Counts what came out; fails if an exit code was not 0, 1 or 2, or one of 2 came with
more or less than one line. Writes benchmarks/results/fuzz.md.
"""

import argparse
import os
import re
import signal
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

RESULT = Path(__file__).parent / "results" / "fuzz.md"
SECONDS = 60  # that one command may take
EXTREMES = (0, 1, -1, 2**31 - 1, -(2**31), 2**16, 255, 2**24)
COMMANDS = {
    "check": ["check", "MODEL", "--target", "mobile_cpu", "--json"],
    "edgetpu": ["check", "MODEL", "--target", "edgetpu", "--json"],
    "bench": ["bench", "MODEL", "--runs", "2", "--json"],
    "predict": ["predict", "MODEL", "IMAGE", "--json"],
}
Random = np.random.Generator


def truncated(content: bytes, rng: Random) -> bytes:
    """The beginning."""
    return content[: rng.integers(0, len(content))]


def noise(content: bytes, rng: Random) -> bytes:
    """Nothing but an identifier."""
    return content[:8] + rng.bytes(len(content) - 8)


def flipped(content: bytes, rng: Random) -> bytes:
    """Two bits."""
    changed = bytearray(content)
    for place in rng.integers(8, len(content), 2):
        changed[place] ^= 1 << rng.integers(8)
    return bytes(changed)


def smeared(content: bytes, rng: Random) -> bytes:
    """32 bytes."""
    place = rng.integers(8, len(content) - 32)
    return content[:place] + rng.bytes(32) + content[place + 32 :]


def extreme(content: bytes, rng: Random) -> bytes:
    """One to three whole numbers of 32 bits."""
    changed = bytearray(content)
    for place in rng.integers(2, len(content) // 4, rng.integers(1, 4)):
        value = EXTREMES[rng.integers(len(EXTREMES))]
        struct.pack_into("<i", changed, 4 * int(place), value)
    return bytes(changed)


def moved(content: bytes, rng: Random) -> bytes:
    """A block of up to 256 bytes over another."""
    size = int(rng.integers(4, 256))
    start, end = rng.integers(8, len(content) - size, 2)
    return content[:end] + content[start : start + size] + content[end + size :]


NOTICE = re.compile(r"\d\d:\d\d:\d\d ")  # a line of the log, before the one that refuses
MUTATIONS: tuple[Callable[[bytes, Random], bytes], ...] = (
    truncated,
    noise,
    flipped,
    smeared,
    extreme,
    moved,
)


def networks() -> list[bytes]:
    """An int8 and a float file with the operators of most networks."""
    import keras
    from keras import layers

    from pipeline.tflite import convert

    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu6")(inputs)
    y = layers.DepthwiseConv2D(3, padding="same", activation="relu")(x)
    x = layers.Concatenate()([layers.Add()([x, y]), layers.MaxPooling2D(3, 1, "same")(y)])
    x = layers.GlobalAveragePooling2D()(layers.AveragePooling2D(2)(x))
    model = keras.Model(inputs, layers.Softmax()(layers.Dense(5)(x)))
    images = np.random.default_rng(0).uniform(0, 255, (16, 16, 16, 3)).astype(np.float32)
    return [convert.ptq(model, images), convert.convert_float(model)]


def outcome(command: list[str], place: Path) -> str:
    """Run a command in a forked process, as the console script would."""
    said = place / "said"
    child = os.fork()
    if not child:
        _command(command, said)
    began = time.monotonic()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() - began > SECONDS:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "TOO LONG"
        time.sleep(0.002)
    if os.WIFSIGNALED(status):
        return f"DIED of signal {os.WTERMSIG(status)}"
    code, text = os.WEXITSTATUS(status), said.read_text(encoding="utf-8", errors="replace")
    lines = [line for line in text.splitlines() if line.strip() and not NOTICE.match(line)]
    if code in (0, 1) and "Traceback" not in text:
        return "an answer"
    if code == 2 and len(lines) == 1 and lines[0].startswith("flopsmith: "):
        died = "died of signal" in text
        return "one line: the runtime died" if died else "one line: refused"
    return f"BAD: exit code {code}, {lines[-1] if lines else 'nothing said'}"


def _command(command: list[str], said: Path) -> None:
    """What the forked process does."""
    from pipeline import __main__

    os.setsid()
    with said.open("wb") as file, Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["flopsmith", *command]
    code = 70
    try:
        code = __main__.script()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> int:
    """Mutate, run, count; the exit code says whether everything was answered."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULT, help="the table (default: %(default)s)")
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        contents = _made(place)
        _import_all()
        found: Counter[tuple[str, str]] = Counter()
        for number in range(args.count):
            name = list(COMMANDS)[number % len(COMMANDS)]
            mutation = MUTATIONS[number // len(COMMANDS) % len(MUTATIONS)]
            broken = mutation(contents[rng.integers(len(contents))], rng)
            model = place / "model.tflite"
            model.write_bytes(broken)
            given = {"MODEL": str(model), "IMAGE": str(place / "image.png")}
            result = outcome([given.get(word, word) for word in COMMANDS[name]], place)
            found[name, result] += 1
            if result[:3].isupper():
                kept = Path(tempfile.gettempdir()) / f"fuzz-{args.seed}-{number}.tflite"
                kept.write_bytes(broken)
                print(f"{number} {name} {mutation.__name__}: {result} ({kept})", flush=True)
            if (number + 1) % 500 == 0:
                print(f"{number + 1} of {args.count}", flush=True)
    table = _table(found, args.count, args.seed)
    args.out.write_text(table, encoding="utf-8")
    print(table)
    return int(any(result[:3].isupper() for _, result in found))


def _made(place: Path) -> list[bytes]:
    """The networks, made in another process: one that forks should have no threads; an image."""
    from PIL import Image

    Image.new("RGB", (16, 16), (200, 100, 50)).save(place / "image.png")
    child = os.fork()
    if not child:
        for number, content in enumerate(networks()):
            (place / f"{number}.bin").write_bytes(content)
        os._exit(0)
    os.waitpid(child, 0)
    return [path.read_bytes() for path in sorted(place.glob("*.bin"))]


def _import_all() -> None:
    """Import what the commands do, so that a fork is all that each costs."""
    import importlib

    modules = ("tflite.predict", "tflite.write", "targets.mobile_cpu", "targets.edgetpu")
    modules += ("bench.timing", "bench.table", "bench.resident", "bench.operators")
    for name in modules:
        importlib.import_module(f"pipeline.{name}")
    importlib.import_module("ai_edge_litert.interpreter")
    importlib.import_module("ai_edge_litert.schema_py_generated")


def _table(found: Counter[tuple[str, str]], count: int, seed: int) -> str:
    results = sorted({result for _, result in found})
    lines = [
        f"Made by `python benchmarks/fuzz.py --count {count} --seed {seed}`: broken files, each",
        "through one command. An answer is an exit code of 0 or 1.",
        "",
        f"| command | {' | '.join(results)} |",
        f"| --- |{' ---: |' * len(results)}",
    ]
    for name in COMMANDS:
        cells = [f"{found[name, result]:,}" for result in results]
        lines.append(f"| `{' '.join(COMMANDS[name])}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
