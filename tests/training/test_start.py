"""Training that begins from a pipeline: what was learnt is kept, what is public is not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from medprotect.confounder.card import load_card
from medprotect.confounder.networks import Assigner, Generator
from medprotect.confounder.noise import NoiseNetwork
from medprotect.errors import ConfigError
from medprotect.training.gan import train
from medprotect.training.recipe import Recipe
from medprotect.training.samples import Samples
from medprotect.training.start import begin_from, load_start

Stripes = Callable[..., Samples]


@pytest.fixture
def start() -> NoiseNetwork:
    torch.manual_seed(0)
    return NoiseNetwork(1, 4, 8, 8, 24, 12)


def begun(start: NoiseNetwork, codes: int = 4, seed: int = 1) -> tuple[Generator, Assigner]:
    torch.manual_seed(seed)
    generator, assigner = Generator(1, codes, 8), Assigner(1, codes, 8)
    begin_from(start, generator, assigner)
    return generator, assigner


class TestBegin:
    def test_all_is_taken_over_but_textures_and_the_places_of_codes(
        self, start: NoiseNetwork
    ) -> None:
        generator, assigner = begun(start)
        learnt = start.generator.state_dict()
        changed = {
            name
            for name, tensor in generator.state_dict().items()
            if not torch.equal(tensor, learnt[name])
        }
        assert changed == {"texture", "message.0.weight"}
        for name, tensor in assigner.state_dict().items():
            assert torch.equal(tensor, start.assigner.state_dict()[name])

    def test_codes_change_places_and_decoys_with_them(self, start: NoiseNetwork) -> None:
        generator, _ = begun(start, seed=3)
        before = start.generator.message[0].weight
        after = generator.message[0].weight
        order = [
            next(old for old in range(4) if torch.equal(after[:, new], before[:, old]))
            for new in range(4)
        ]
        assert sorted(order) == [0, 1, 2, 3]
        assert order != [0, 1, 2, 3]
        assert torch.equal(after[:, 4:], before[:, [4 + old for old in order]])

    def test_another_draw_has_other_textures(self, start: NoiseNetwork) -> None:
        assert not torch.equal(begun(start, seed=1)[0].texture, begun(start, seed=2)[0].texture)

    def test_with_other_classes_what_belongs_to_a_class_is_new(self, start: NoiseNetwork) -> None:
        generator, assigner = begun(start, codes=6)
        assert generator.message[0].weight.shape == (32, 12)
        assert assigner.leave.weight.shape[0] == 6
        assert torch.equal(generator.enter.weight, start.generator.enter.weight)
        first = assigner.enter[0].weight
        assert torch.equal(first, start.assigner.enter[0].weight)


class TestTraining:
    def test_it_goes_on_from_there(
        self, start: NoiseNetwork, stripes: Stripes, recipe: Recipe
    ) -> None:
        short = replace(recipe, steps=1, assigner_steps=1)
        alone, after = train(stripes(), short), train(stripes(), short, start=start)
        learnt = start.generator.enter.weight

        def far(generator: Generator) -> float:
            return (generator.enter.weight - learnt).abs().max().item()

        assert far(after.generator) < 0.01 < far(alone.generator)

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
