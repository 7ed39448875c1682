"""The command as its users start it: a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..waiting import wait_for

Start = Callable[[Path, Path], "subprocess.Popen[str]"]


@contextmanager
def held(process: "subprocess.Popen[str]", out: Path) -> Iterator[None]:
    """Stop a run that has begun to write, all processes of it, until the block ends.

    However long the block takes, the run is still under way then.
    """
    wait_for(lambda: process.poll() is not None or files_in(out), "the run wrote nothing")
    os.killpg(process.pid, signal.SIGSTOP)
    try:
        assert process.poll() is None, "the run was done before it could be stopped"
        yield
    finally:
        os.killpg(process.pid, signal.SIGCONT)


def files_in(folder: Path) -> int:
    """How many files lie in a folder, however deep."""
    return sum(path.is_file() for path in folder.rglob("*"))


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
