import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from medprotect.errors import StateLockedError
from medprotect.protect.lock import NAME, hold_lock


def test_a_second_holder_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    told = pytest.raises(StateLockedError, match=f"process {os.getpid()}")
    with hold_lock(tmp_path), told, hold_lock(tmp_path):
        pass


def test_it_is_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with hold_lock(tmp_path / "state"):
            pass
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "state" / NAME).stat().st_mode) == 0o600


def test_the_death_of_its_holder_frees_it(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path\n"
        "from medprotect.protect.lock import hold_lock\n"
        "with hold_lock(Path(sys.argv[1])): os._exit(9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, os.fspath(tmp_path)])
    assert done.returncode == 9
    with hold_lock(tmp_path):
        pass


def test_only_the_state_folder_itself_is_private(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with hold_lock(tmp_path / "new" / "out.medprotect"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "new" / "out.medprotect").stat().st_mode) == 0o700
