"""Training by several processes: the same step for all, and none but the first writes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from medprotect.training.ranks import average_figures, average_gradients, rank, ranks

from ..waiting import HANG_SECONDS

TOGETHER = """
import hashlib, sys
from dataclasses import replace
from pathlib import Path
import torch
from torch import distributed, nn
torch.set_num_threads(1)
number, count, root = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
sys.path.insert(0, sys.argv[4])
if count:
    store = distributed.FileStore(str(root / "store"), count)
    distributed.init_process_group("gloo", store=store, rank=number, world_size=count)
from conftest import make_stripes
from medprotect.confounder.card import Widths
from medprotect.training.gan import train
from medprotect.training.recipe import Recipe
from medprotect.training import ranks
weight = nn.Parameter(torch.zeros(2, 3))
weight.grad = torch.full((2, 3), number + 1.0)
ranks.average_gradients([weight, nn.Parameter(torch.zeros(1))])
print("gradient", weight.grad.flatten().tolist())
print("figure", ranks.average_figures({"a": float(number), "b": 1.0}))
widths = Widths(generator=8, assigner=8)
recipe = Recipe(steps=4, assigner_steps=3, batch=8, seed=3, decoys=True, widths=widths)
trained = train(make_stripes(), recipe, folder=root / "checkpoints")
digest = hashlib.sha256()
for network in (trained.generator, trained.assigner):
    for tensor in network.state_dict().values():
        digest.update(tensor.contiguous().numpy().tobytes())
print("weights", digest.hexdigest(), sorted(trained.figures.items()))
again = train(make_stripes(), recipe, folder=root / "checkpoints")
pairs = zip(trained.generator.parameters(), again.generator.parameters())
print("resumed", all(torch.equal(one, other) for one, other in pairs))
if count:
    distributed.destroy_process_group()
"""


def train_together(count: int, root: Path) -> list[list[str]]:
    """What each of `count` ranks prints; of a process that stands alone for 0."""
    root.mkdir()
    script = [sys.executable, "-c", TOGETHER]
    processes = [
        subprocess.Popen(
            [*script, str(number), str(count), os.fspath(root), os.fspath(Path(__file__).parent)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(max(1, count))
    ]
    said = []
    for process in processes:
        out, err = process.communicate(timeout=HANG_SECONDS)
        assert process.returncode == 0, err[-2000:]
        said.append(out.splitlines())
    return said


def test_a_process_that_stands_alone_changes_nothing() -> None:
    weight = nn.Parameter(torch.zeros(3))
    weight.grad = torch.tensor([0.1, 0.2, 0.3])
    average_gradients([weight])
    assert torch.equal(weight.grad, torch.tensor([0.1, 0.2, 0.3]))
    assert average_figures({"a": 0.1}) == {"a": 0.1}
    assert (rank(), ranks()) == (0, 1)


@pytest.mark.slow
def test_two_ranks_take_the_same_steps_and_one_takes_those_of_a_process_alone(
    tmp_path: Path,
) -> None:
    first, second = train_together(2, tmp_path / "two")
    assert first[0] == "gradient [1.5, 1.5, 1.5, 1.5, 1.5, 1.5]"
    assert first[1] == "figure {'a': 0.5, 'b': 1.0}"
    assert first == second
    assert first[-1] == "resumed True"
    (one,) = train_together(1, tmp_path / "one")
    (alone,) = train_together(0, tmp_path / "alone")
    assert one == alone
    assert one[2] != first[2]
