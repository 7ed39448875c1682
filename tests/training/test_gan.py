"""Training: repeatable, resumable, and it teaches the noise what it is to say."""

import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from medprotect.errors import ConfigError, PipelineError
from medprotect.training import checkpoint, generating, trial
from medprotect.training.gan import Trained, train
from medprotect.training.recipe import Recipe
from medprotect.training.samples import Samples, draw_batch, step_rng

Stripes = Callable[..., Samples]


def weights(trained: Trained) -> dict[str, torch.Tensor]:
    networks = {"generator": trained.generator, "assigner": trained.assigner}
    return {
        f"{name}.{key}": tensor
        for name, network in networks.items()
        for key, tensor in network.state_dict().items()
    }


def same(one: Trained, other: Trained) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(
        torch.equal(first[key], second[key]) for key in first
    )


def test_a_training_repeats_from_its_seed(stripes: Stripes, recipe: Recipe) -> None:
    assert same(train(stripes(), recipe), train(stripes(), recipe))


def test_another_seed_gives_another_generator(stripes: Stripes, recipe: Recipe) -> None:
    assert not same(train(stripes(), recipe), train(stripes(), replace(recipe, seed=4)))


def test_training_does_not_disturb_the_randomness_of_its_caller(
    stripes: Stripes, recipe: Recipe
) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(stripes(), recipe)
    assert torch.equal(torch.rand(3), expected)


class PulledPlugError(Exception):
    pass


ALWAYS, NEVER = 0.0, 1e9


@pytest.mark.parametrize("stage", ["assigner", "second classifier", "generator"])
@pytest.mark.parametrize(("seconds", "next_step"), [(ALWAYS, 4), (NEVER, 1)])
def test_a_training_that_broke_off_ends_in_the_same_bytes(
    stage: str,
    seconds: float,
    next_step: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stripes: Stripes,
    recipe: Recipe,
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS", seconds)

    def pull(at: str, step: int, _steps: int, _figures: dict[str, float]) -> None:
        if at == stage and step == 3:
            raise PulledPlugError

    with pytest.raises(PulledPlugError):
        train(stripes(), recipe, folder=tmp_path, progress=pull)
    seen: list[tuple[str, int]] = []
    resumed = train(
        stripes(), recipe, folder=tmp_path, progress=lambda at, step, *_: seen.append((at, step))
    )
    whole = train(stripes(), recipe)
    assert same(resumed, whole)
    assert resumed.figures == pytest.approx(whole.figures)
    assert min(step for at, step in seen if at == stage) == next_step


Reported = list[tuple[str, int, dict[str, float]]]


def reports(
    samples: Samples, recipe: Recipe, folder: Path | None = None
) -> tuple[Trained, Reported]:
    told: Reported = []
    trained = train(
        samples,
        recipe,
        folder=folder,
        progress=lambda stage, step, _steps, figures: told.append((stage, step, figures)),
    )
    return trained, told


def test_of_several_tries_the_one_that_victims_learn_least_from_is_finished(
    stripes: Stripes, recipe: Recipe
) -> None:
    loud = replace(stripes(240), budget=torch.full((240, 1, 1, 1), 0.8))
    trained, told = reports(loud, replace(recipe, steps=40, tries=3))
    judged = [figures for stage, _, figures in told if stage == "choice"]
    assert len(judged) == 3
    # P is of few images, so that two may have the same.
    good = [(each["p_when_chosen"], each["told_when_chosen"]) for each in judged]
    assert len(set(good)) == 3
    best = max(range(3), key=good.__getitem__)
    stages = ["generator", "generator 2", "generator 3"]
    assert [stage for stage, step, _ in told if stage in stages and step == 40] == [stages[best]]
    assert trained.figures["p_when_chosen"] == judged[best]["p_when_chosen"]


def test_where_victims_learn_nothing_at_all_the_try_that_is_read_best_is_finished(
    stripes: Stripes, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "MEASURABLE", 2.0)  # more than anybody learns
    trained, told = reports(stripes(), replace(recipe, tries=2))
    judged = [figures["told"] for stage, _, figures in told if stage == "choice"]
    (finished,) = {stage for stage, step, _ in told if "gen" in stage and step == recipe.steps}
    assert finished == ("generator" if judged[0] > judged[1] else "generator 2")
    assert "p_when_chosen" not in trained.figures


def test_tries_begin_from_seeds_of_their_own(stripes: Stripes, recipe: Recipe) -> None:
    _, told = reports(stripes(), replace(recipe, tries=3))
    figures = [figures["confounder"] for stage, _, figures in told if stage == "choice"]
    assert len(set(figures)) == 3


@pytest.mark.parametrize("at", [("generator 2", 2), ("choice", 1), ("choice", 2), ("finish", 5)])
def test_tries_that_broke_off_end_in_the_same_bytes(
    at: tuple[str, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stripes: Stripes,
    recipe: Recipe,
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS", ALWAYS)
    tried = replace(recipe, tries=2)

    def pull(stage: str, step: int, _steps: int, _figures: dict[str, float]) -> None:
        stage = "finish" if "generator" in stage and step > 3 else stage
        if (stage, step) == at:
            raise PulledPlugError

    with pytest.raises(PulledPlugError):
        train(stripes(), tried, folder=tmp_path, progress=pull)
    resumed, whole = train(stripes(), tried, folder=tmp_path), train(stripes(), tried)
    assert same(resumed, whole)
    assert resumed.figures == pytest.approx(whole.figures)


def test_a_finished_training_is_taken_up_without_a_step(
    tmp_path: Path, stripes: Stripes, recipe: Recipe
) -> None:
    first = train(stripes(), recipe, folder=tmp_path)
    stages: list[str] = []
    again = train(
        stripes(), recipe, folder=tmp_path, progress=lambda stage, *_: stages.append(stage)
    )
    assert same(first, again)
    assert stages == ["calibration"]


def test_checkpoints_of_other_images_are_not_taken_up(
    tmp_path: Path, stripes: Stripes, recipe: Recipe
) -> None:
    train(stripes(), recipe, folder=tmp_path)
    other = stripes(44)
    assert same(train(other, recipe, folder=tmp_path), train(other, recipe))


def test_checkpoints_are_private_and_hold_no_pickle(
    tmp_path: Path, stripes: Stripes, recipe: Recipe
) -> None:
    train(stripes(), recipe, folder=tmp_path / "checkpoints")
    assert stat.S_IMODE((tmp_path / "checkpoints").stat().st_mode) == 0o700
    for path in (tmp_path / "checkpoints").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.suffix in (".safetensors", ".json")


def test_a_try_that_collapses_is_left_out(
    monkeypatch: pytest.MonkeyPatch, stripes: Stripes, recipe: Recipe
) -> None:
    refuse = generating._refuse_collapse

    def collapse_of_the_first(figures: dict[str, float], step: int, own: Recipe) -> None:
        refuse({"amplitude": 0.0} if own.seed == recipe.seed else figures, step, own)

    monkeypatch.setattr(generating, "_refuse_collapse", collapse_of_the_first)
    trained, told = reports(stripes(), replace(recipe, steps=10, tries=2))
    assert trained.stage == "generator 2"
    assert [step for stage, step, _ in told if stage == "choice"] == [2]


def test_where_all_tries_collapse_the_training_stops(
    monkeypatch: pytest.MonkeyPatch, stripes: Stripes, recipe: Recipe
) -> None:
    monkeypatch.setattr(generating, "COLLAPSED", 2.0)
    with pytest.raises(PipelineError, match="collapsed"):
        train(stripes(), replace(recipe, steps=10, tries=2))


def test_a_single_step_is_enough_for_a_choice(stripes: Stripes, recipe: Recipe) -> None:
    trained, told = reports(stripes(), replace(recipe, steps=1, tries=2))
    assert [step for stage, step, _ in told if stage == "choice"] == [1, 2]
    assert trained.stage in ("generator", "generator 2")


def test_labels_without_a_class_are_refused(stripes: Stripes) -> None:
    samples = stripes()
    with pytest.raises(ConfigError):
        Samples(samples.presented, samples.budget, samples.labels + 1, samples.classes)
    with pytest.raises(ConfigError):
        Samples(samples.presented, samples.budget, samples.labels * 0, ("one",))
    with pytest.raises(ConfigError):
        Samples(samples.presented[:5], samples.budget, samples.labels, samples.classes)


def test_batches_keep_the_grid_magnified_or_not(stripes: Stripes) -> None:
    samples = stripes()
    budget = samples.budget.expand(-1, 1, 12, 12).contiguous()
    wide = Samples(samples.presented, budget, samples.labels, samples.classes)
    for step in range(20):
        presented, bound, labels = draw_batch(wide, 5, step_rng(1, "test", step))
        assert presented.shape == (5, 1, 12, 12)
        assert bound.shape == (5, 1, 12, 12)
        assert labels.shape == (5,)
        assert torch.allclose(bound, bound.new_tensor(16 / 255))


def test_each_step_and_stage_has_its_own_randomness() -> None:
    draws = {
        float(torch.rand((), generator=step_rng(seed, stage, step)))
        for seed in (1, 2)
        for stage in ("a", "b")
        for step in (0, 1)
    }
    assert len(draws) == 8
