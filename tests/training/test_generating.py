"""The loop of one generator: what is faded in, what is told, and what stops it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from medprotect.errors import PipelineError
from medprotect.intensity.budget import STRENGTHS
from medprotect.training import generating
from medprotect.training.gan import train
from medprotect.training.recipe import Recipe
from medprotect.training.samples import Samples

Stripes = Callable[..., Samples]


def test_decoys_mislead_clean_models_and_without_them_what_they_see_is_kept(
    stripes: Stripes, recipe: Recipe
) -> None:
    without = train(stripes(), replace(recipe, decoys=False)).figures
    assert {"utility", "kept"} <= without.keys()
    assert not {"decoy", "misled"} & without.keys()
    assert {"decoy", "misled"} <= train(stripes(), recipe).figures.keys()


def test_noise_that_collapses_stops_the_training(
    monkeypatch: pytest.MonkeyPatch, stripes: Stripes, recipe: Recipe
) -> None:
    monkeypatch.setattr(generating, "COLLAPSED", 2.0)  # more than any noise can reach
    with pytest.raises(PipelineError, match="collapsed"):
        train(stripes(), recipe)


@pytest.mark.slow
def test_the_noise_comes_to_say_its_code_on_images_it_was_not_made_for(
    stripes: Stripes, recipe: Recipe
) -> None:
    longer = replace(recipe, steps=140, assigner_steps=40, batch=16, decoys=False, distorted=0.0)
    # Noise so loud that who reads it need not learn to look for it.
    loud = replace(stripes(200), budget=torch.full((200, 1, 1, 1), 0.8))
    figures = train(loud, longer).figures
    assert figures["code_read"] > 0.4  # by chance 0.25
    assert figures["assigner_balanced_accuracy"] > 0.6
    assert figures["amplitude"] > 0.2


def fading(stripes: Stripes, recipe: Recipe) -> list[float]:
    faded: list[float] = []
    train(
        stripes(),
        replace(recipe, steps=20, decoys=False),
        progress=lambda stage, _step, _steps, figures: (
            faded.append(figures["faded_in"]) if stage == "generator" else None
        ),
    )
    return faded


def test_the_other_image_is_faded_in_by_two_fifths_of_the_steps(
    stripes: Stripes, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generating, "TOLD", 2.0)  # more than there is to tell
    faded = fading(stripes, recipe)
    assert faded == pytest.approx([min(1, step / 8) for step in range(20)])


def test_it_is_faded_in_sooner_where_codes_are_read(
    stripes: Stripes, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generating, "TOLD", -99.0)
    monkeypatch.setattr(generating, "PACE", 0.5)
    assert fading(stripes, recipe)[:3] == [0.5, 1.0, 1.0]


@pytest.mark.parametrize("strength", STRENGTHS)
def test_what_is_given_in_training_is_one_of_the_strengths(strength: str) -> None:
    """Nothing is learned for noise that no run gives."""
    scales = generating._OTHER_SCALES[strength].values()
    assert scales
    assert {STRENGTHS[strength] * scale for scale in scales} <= set(STRENGTHS.values())
