"""How long commands take before they do what takes long, and whether they load torch for it."""

import os
import re
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from medprotect.bench.speed.row import Row
from medprotect.errors import MedprotectError

_MOST_SECONDS = 0.5
_TORCH = re.compile(r"\| +torch$", re.MULTILINE)


def measure_commands(export: Path, out: Path, scratch: Path, repeats: int) -> list[Row]:
    """Measure commands, each as a process of its own, beside an interpreter that does nothing.

    Parameters
    ----------
    export, out : Path
        An export of one file, and its protected copy.
    scratch : Path
        A folder for what they may write.
    repeats : int
        How often.
    """
    (image,) = map(str, export.iterdir())
    commands = {
        "--help": ["--help"],
        "inspect FILE": ["inspect", image],
        "run --dry-run of one file": ["run", str(export), str(scratch / "not-made"), "--dry-run"],
        "verify of one file": ["verify", str(export), str(out)],
    }
    found = []
    for name, words in commands.items():
        turns = [(_seconds("-c", ""), _seconds("-m", "medprotect", *words)) for _ in range(repeats)]
        seconds, ratios = [b for _, b in turns], [b / a for a, b in turns]
        found += [
            Row("f", f"{name}, from start to end", "s", seconds, most=_MOST_SECONDS),
            Row("f", f"{name} / an interpreter that does nothing", "x", ratios),
            Row("f", f"{name}: loads of torch", "", [_loads_torch(words)], most=0),
        ]
    return found


def _seconds(*words: str) -> float:
    began = perf_counter()
    _run(*words)
    return perf_counter() - began


def _loads_torch(words: list[str]) -> float:
    return float(bool(_TORCH.search(_run("-X", "importtime", "-m", "medprotect", *words))))


def _run(*words: str) -> str:
    """Run an interpreter; return what it says beside its results."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"PYTHONUTF8": "1"},
        text=True,
        check=False,
    )
    if done.returncode:
        raise MedprotectError(f"a command that is measured ended with {done.returncode}")
    return done.stderr
