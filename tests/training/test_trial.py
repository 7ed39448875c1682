"""Victims that try the noise while a generator is trained."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from medprotect.confounder.networks import Assigner
from medprotect.training import checkpoint
from medprotect.training import trial as trials
from medprotect.training.samples import Samples
from medprotect.training.trial import Trial

Stripes = Callable[..., Samples]


class Silent(nn.Module):
    """Changes nothing."""

    def forward(self, presented: Tensor, _code: Tensor, _decoy: Tensor) -> Tensor:
        return torch.zeros_like(presented)


class Outright(nn.Module):
    """Says the code by which quarter of the image is light, as plainly as the budget lets it."""

    def forward(self, presented: Tensor, code: Tensor, _decoy: Tensor) -> Tensor:
        blocks = code.view(-1, 1, 2, 2) * 2 - 1
        return nn.functional.interpolate(blocks, presented.shape[-2:])


def told(samples: Samples) -> Callable[[Tensor], Tensor]:
    """The logits of an assigner that is always right: it knows each image by its first row."""
    known = {
        row.numpy().tobytes(): label
        for row, label in zip(samples.presented[:, 0, 0], samples.labels.tolist(), strict=True)
    }

    def logits(presented: Tensor) -> Tensor:
        labels = [known[row.numpy().tobytes()] for row in presented[:, 0, 0]]
        return 30.0 * nn.functional.one_hot(torch.tensor(labels), len(samples.classes))

    return logits


def loud(samples: Samples) -> Samples:
    return replace(samples, budget=torch.full_like(samples.budget, 0.8))


def trial(samples: Samples, steps: int = 40, folder: Path | None = None) -> Trial:
    return Trial(
        samples, told(samples), seed=1, mirrored=False, width=8, steps=steps, folder=folder
    )


def test_noise_that_changes_nothing_protects_nothing(stripes: Stripes) -> None:
    assert trial(stripes(240)).measure(Silent()) == {"p_in_training": 0.0}


def test_noise_that_outshouts_the_image_protects_it(stripes: Stripes) -> None:
    assert trial(loud(stripes(240))).measure(Outright())["p_in_training"] > 0.5


class Witness(Silent):
    """Remembers the decoys that it was asked to show."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Tensor] = []

    def forward(self, presented: Tensor, code: Tensor, decoy: Tensor) -> Tensor:
        assert not ((code.argmax(1) == decoy.argmax(1)) & (decoy.sum(1) > 0)).any()
        self.asked.append(decoy)
        return super().forward(presented, code, decoy)


@pytest.mark.parametrize("decoys", [True, False])
def test_noise_is_tried_with_the_decoys_of_its_training(
    decoys: bool, stripes: Stripes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trial, "_learn_clean", lambda *_: 1.0)  # measurable, whatever is learned
    samples, witness = stripes(48), Witness()
    tried = Trial(samples, told(samples), seed=1, mirrored=False, width=8, steps=1, decoys=decoys)
    tried.measure(witness)
    shown = torch.cat(witness.asked).sum(1)
    assert torch.equal(shown, torch.full_like(shown, float(decoys)))


def test_no_group_is_both_learned_from_and_tested_on(stripes: Stripes) -> None:
    tried = trial(replace(stripes(96), groups=torch.arange(96) // 6))
    learned, tested = tried._learned.groups, tried._tested.groups
    assert learned is not None
    assert tested is not None
    assert len(learned) + len(tested) == 96
    assert not set(learned.tolist()) & set(tested.tolist())


def test_the_same_noise_gives_the_same_figure(stripes: Stripes) -> None:
    samples = loud(stripes(240))
    first, again = (trial(samples).measure(Outright()) for _ in range(2))
    assert first == again
    assert first["p_in_training"] != 0.0


def test_several_victims_begin_apart_and_their_mean_is_stated(
    stripes: Stripes, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Tensor] = []
    learn, scores = Trial._learn, iter((0.9, 0.8, 0.7, 0.3, 0.5, 0.1))

    def learn_and_score(self: Trial, *asked: Any) -> float:
        learn(self, *asked)
        return next(scores)

    def begin(*shape: int) -> Assigner:
        made = Assigner(*shape)
        begun.append(made.leave.weight.detach().clone())
        return made

    monkeypatch.setattr(Trial, "_learn", learn_and_score)
    monkeypatch.setattr(trials, "Assigner", begin)
    found = trial(stripes(48), steps=1).measure(Outright(), victims=3)
    assert found["p_in_training"] == pytest.approx((0.8 - 0.3) / (0.8 - 0.25))
    assert len(begun) == 6
    assert len({each.numpy().tobytes() for each in begun}) == 3
    assert all(torch.equal(one, again) for one, again in zip(begun[:3], begun[3:], strict=True))


class PulledPlugError(Exception):
    pass


@pytest.mark.parametrize("stage", ["victim 2, clean", "victim 1, protected"])
def test_a_trial_that_broke_off_goes_on_within_its_victim_to_the_same_figure(
    stage: str, stripes: Stripes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    samples = loud(stripes(240))
    seen: list[tuple[str, int]] = []

    def pull(at: str, step: int, _steps: int, _figures: dict[str, float]) -> None:
        if (at, step) == (stage, 30):
            raise PulledPlugError

    with pytest.raises(PulledPlugError):
        trial(samples, folder=tmp_path).measure(Outright(), pull, victims=2)
    resumed = trial(samples, folder=tmp_path).measure(
        Outright(), lambda at, step, *_: seen.append((at, step)), victims=2
    )
    assert seen[0] == (stage, 31)
    assert resumed == trial(samples).measure(Outright(), victims=2)


def test_where_nothing_can_be_learned_nothing_is_stated(stripes: Stripes) -> None:
    samples = stripes(1200)
    shuffled = samples.labels[torch.randperm(1200, generator=torch.Generator().manual_seed(1))]
    assert trial(replace(samples, labels=shuffled)).measure(Outright()) == {}


def test_a_trial_does_not_disturb_the_randomness_of_its_caller(stripes: Stripes) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    trial(stripes(48), steps=5).measure(Silent())
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("count", [3, 4, 7])
def test_few_images_are_enough_for_it_to_run(count: int, stripes: Stripes) -> None:
    samples = stripes(48).take(torch.arange(count))
    assert trial(samples, steps=2).measure(Silent()).keys() <= {"p_in_training"}
