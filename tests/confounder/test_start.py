"""Training that begins from a pipeline: what was learnt is kept, what is public is not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from medprotect.confounder.card import load_card
from medprotect.confounder.gan import Recipe, train
from medprotect.confounder.networks import Assigner
from medprotect.confounder.noise import NoiseNetwork
from medprotect.confounder.samples import Samples
from medprotect.confounder.start import begin_from, load_start
from medprotect.errors import ConfigError

Stripes = Callable[..., Samples]


@pytest.fixture
def start() -> NoiseNetwork:
    torch.manual_seed(0)
    return NoiseNetwork(1, 4, 8, 8, 24, 12)


def begun(start: NoiseNetwork, codes: int = 4) -> Assigner:
    torch.manual_seed(1)
    assigner = Assigner(1, codes, 8)
    begin_from(start, assigner)
    return assigner


class TestBegin:
    def test_all_that_the_assigner_sees_is_taken_over(self, start: NoiseNetwork) -> None:
        learnt = start.assigner.state_dict()
        assert all(torch.equal(each, learnt[n]) for n, each in begun(start).state_dict().items())

    def test_with_other_classes_what_belongs_to_a_class_is_new(self, start: NoiseNetwork) -> None:
        assigner, learnt = begun(start, codes=6), start.assigner.state_dict()
        assert assigner.leave.weight.shape[0] == 6
        other = {
            name
            for name, tensor in assigner.state_dict().items()
            if tensor.shape != learnt[name].shape or not torch.equal(tensor, learnt[name])
        }
        assert other == {"leave.weight", "leave.bias"}


class TestTraining:
    def test_the_assigner_goes_on_from_there(
        self, start: NoiseNetwork, stripes: Stripes, recipe: Recipe
    ) -> None:
        short = replace(recipe, steps=1, assigner_steps=1)
        alone, after = train(stripes(), short), train(stripes(), short, start=start)
        learnt = start.assigner.leave.weight

        def far(assigner: Assigner) -> float:
            return (assigner.leave.weight - learnt).abs().max().item()

        assert far(after.assigner) < 0.01 < far(alone.assigner)

    def test_the_generator_is_nobody_elses(
        self, start: NoiseNetwork, stripes: Stripes, recipe: Recipe
    ) -> None:
        short = replace(recipe, steps=1, assigner_steps=1)
        made = [train(stripes(), replace(short, seed=seed), start=start) for seed in (1, 2)]
        public = start.generator.state_dict()
        first, second = (each.generator.state_dict() for each in made)
        for name, tensor in first.items():
            if tensor.unique().numel() > 1:  # not a bias, which begins at 0
                assert (tensor - public[name]).abs().max() > 0.01
                assert (tensor - second[name]).abs().max() > 0.01

    def test_a_checkpoint_of_another_beginning_is_not_taken_up(
        self, start: NoiseNetwork, stripes: Stripes, recipe: Recipe, tmp_path: Path
    ) -> None:
        train(stripes(), recipe, folder=tmp_path)
        again = train(stripes(), recipe, start=start, folder=tmp_path)
        fresh = train(stripes(), recipe, start=start)
        expected = fresh.generator.state_dict()
        assert all(torch.equal(one, expected[n]) for n, one in again.generator.state_dict().items())


def test_a_pipeline_for_colour_is_no_beginning_for_grey_images() -> None:
    with pytest.raises(ConfigError, match="for colour images, and these are grey"):
        load_start(load_card("blood-microscopy"), 1)
