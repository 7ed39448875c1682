"""A few hundred of the damaged files that `tests.e2e.fuzz` makes by the ten thousand."""

import json
import subprocess
import sys
from pathlib import Path

from ..waiting import HANG_SECONDS

ROOT = Path(__file__).parents[2]


def test_damaged_files_end_in_a_result_or_in_one_of_our_errors(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.e2e.fuzz", "--inputs", "250", "--found", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HANG_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = json.loads(done.stdout)
    assert outcomes.pop("inputs") == 250
    assert outcomes["corrupt"]
    assert outcomes["protected"]
    assert {path.name for path in tmp_path.iterdir()} == {"corpus", "outcomes.json"}
