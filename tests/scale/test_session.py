"""Joining and starting Ray; what needs a cluster is tested with the pool."""

import subprocess
import sys
from pathlib import Path

import pytest

from medprotect.errors import ConfigError
from medprotect.scale.session import ray_session, require_ray

DRY = """
import sys
from medprotect.cli import app
app(["run", sys.argv[1], sys.argv[2], "--engine", "ray", "--dry-run"], standalone_mode=False)
assert "ray" not in sys.modules
"""


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"medprotect\[ray\]"):
        require_ray()


def test_a_client_of_a_cluster_is_no_node_of_it() -> None:
    pytest.importorskip("ray")
    with pytest.raises(ConfigError, match="HOST:PORT"), ray_session("ray://host:10001", 1):
        pass


def test_a_plan_needs_no_ray(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    (tmp_path / "in").mkdir()
    command = [sys.executable, "-c", DRY, str(tmp_path / "in"), str(tmp_path / "out")]
    subprocess.run(command, check=True, capture_output=True)


def test_an_address_without_ray_is_a_mistake(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "medprotect", "run", str(tmp_path), "OUT", "--address", "a:1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--engine ray" in done.stderr
