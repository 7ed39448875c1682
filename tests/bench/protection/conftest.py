"""A bench of two classes of stripes, and what it made."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medprotect.bench.protection.data import BenchData, read_bench_data
from medprotect.bench.protection.protection import Protection, find_protection
from medprotect.bench.protection.record import Run, read_runs
from medprotect.bench.protection.run import Tally, list_attacks, run_bench

from ...audit.stripes import covered, stripes

STEPS = 10

Start = Callable[..., Tally]

COVERED = Protection(
    {"name": "covered", "strength": "all"}, lambda train, _: covered(train.images, train.labels)
)
"""Leaves nothing of the images but a shade for each class."""


def silent(_: str) -> None:
    pass


def medmnist_file(path: Path) -> Path:
    """Write fine stripes, across and along, as a file of two classes."""
    arrays: dict[str, np.ndarray] = {}
    for seed, (part, count) in enumerate({"train": 384, "val": 160, "test": 240}.items()):
        drawn = stripes(count, seed, side=12)
        arrays[f"{part}_images"] = drawn.images[1::2, ..., 0]
        arrays[f"{part}_labels"] = drawn.labels[1::2, None] // 2
    # Every second one is half B: each comes twice here, so that both classes are in it.
    for name in ("train_images", "train_labels"):
        arrays[name] = arrays[name].repeat(2, 0)
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> BenchData:
    path = medmnist_file(tmp_path_factory.mktemp("data") / "stripes.npz")
    return read_bench_data("breastmnist", path, size=16, train=48, test=40)


@pytest.fixture(scope="session")
def find(data: BenchData) -> Callable[[str], Protection]:
    return lambda name: find_protection(name, "standard", "auto", data)


@pytest.fixture(scope="session")
def start(data: BenchData) -> Start:
    """`start(out)` starts the bench."""

    def run(out: Path, steps: int = STEPS) -> Tally:
        attacks = list_attacks(["vgg"], ["posterise-2"], [1], steps, [2])
        return run_bench(data, [COVERED], attacks, out, command="medprotect bench", say=silent)

    return run


@pytest.fixture(scope="session")
def out(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    assert start(folder) == Tally(made=5, kept=0)
    return folder


@pytest.fixture
def runs(out: Path) -> list[Run]:
    return read_runs([out])
