"""The command as its users start it: a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Start = Callable[[Path, Path], "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """`start(export, out)` is a run under way, in a process group of its own."""
    environment = os.environ | {"XDG_CONFIG_HOME": os.fspath(tmp_path / "config")}

    def run(export: Path, out: Path) -> "subprocess.Popen[str]":
        run = ["run", os.fspath(export), os.fspath(out), "--accept-weak"]
        return subprocess.Popen(
            [sys.executable, "-m", "medprotect", *run],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            start_new_session=True,
        )

    return run
