"""Runs on a real Ray cluster of two nodes on this machine."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

pytest.importorskip("ray")

from medprotect.confounder.measured import Protection

from ..waiting import wait_for
from .cluster import Cluster, House, cluster_of, files, lose_a_node, with_signal

FILES = 18


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with cluster_of(1) as made:
        yield made


@pytest.fixture
def joined(cluster: Cluster) -> tuple[str, ...]:
    return "--engine", "ray", "--address", cluster.address


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> House:
    """An export that was protected on this machine; each test has an OUT of its own."""
    house = House(tmp_path_factory.mktemp("house"), FILES)
    code, _, said = house.run("OUT", "--jobs", "2")
    assert code == 0, said
    return house


def with_noise(told: dict[str, Any]) -> int:
    return sum(told["counts"].get(each, 0) for each in Protection)


def test_a_node_that_dies_costs_no_file_and_no_byte(shared: House, cluster: Cluster) -> None:
    cluster.start_node()
    lost = lose_a_node(shared, cluster, len(cluster.nodes) - 1, "LOST")
    assert lost["exit_code"] == 0, lost
    assert with_noise(lost) == FILES
    assert lost["done_when_a_node_was_killed"] < FILES
    assert files(shared.folder / "LOST") == files(shared.folder / "OUT")
    assert files(shared.folder / "LOST.medprotect" / "staging") == {}
    with_words = json.loads((shared.folder / "LOST.medprotect" / "receipt.json").read_text())
    assert with_words["finished"]


def test_runs_here_and_there_go_on_with_each_other(shared: House, joined: tuple[str, ...]) -> None:
    for options, count in (((), 2), (joined, 6)):
        process = shared.begin("MIXED", "--jobs", "1", *options)
        shared.wait_for_files("MIXED", count)
        process.send_signal(signal.SIGTERM)
        code, _, said = shared.end(process)
        assert code == 143, said
        assert count <= shared.done("MIXED") < FILES
    code, told, said = shared.run("MIXED", "--jobs", "1")
    assert code == 0, said
    assert with_noise(told) == FILES
    assert files(shared.folder / "MIXED") == files(shared.folder / "OUT")


def test_a_file_that_ends_worker_after_worker_is_rejected(
    tmp_path: Path, cluster: Cluster, joined: tuple[str, ...]
) -> None:
    house = House(tmp_path, 0)
    shades = np.random.default_rng(0).integers(0, 256, (3000, 3000), dtype=np.uint8)
    Picture.fromarray(shades).save(house.export / "large.png")  # which takes seconds
    process = house.begin("OUT", *joined)
    for _ in range(3):
        wait_for(lambda: cluster.workers() or process.poll(), "no worker got the file")
        for pid in cluster.workers():
            with_signal(pid, signal.SIGKILL)
        wait_for(lambda: not cluster.workers(), "a worker outlived its end")
    code, told, said = house.end(process)
    assert code == 4, said
    (told_of,) = told["files"]
    assert told_of["reason"] == "too_large"  # which the next run tries again


def test_nodes_that_compute_differently_are_refused(shared: House, cluster: Cluster) -> None:
    cluster.start_node(ATEN_CPU_CAPABILITY="default")
    try:
        code, told, said = shared.run("UNLIKE", "--engine", "ray", "--address", cluster.address)
    finally:
        cluster.kill_node(len(cluster.nodes) - 1)
    assert code == 5, said
    assert told["error"] == "other_run"
    assert "cpu_capability" in said


def test_ray_started_for_one_run_gives_the_same_and_leaves_nothing(
    shared: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    code, _, said = shared.run("ALONE", "--engine", "ray", "--jobs", "2")
    assert code == 0, said
    assert "ray" not in said.lower()
    assert files(shared.folder / "ALONE") == files(shared.folder / "OUT")
    assert files(tmp_path) == {}
