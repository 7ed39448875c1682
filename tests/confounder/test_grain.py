import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from medprotect.confounder.card import load_card
from medprotect.confounder.codes import key_seed, key_slots
from medprotect.confounder.grain import (
    DIRECTIONS,
    PERIODS_PX,
    Grain,
    default_power,
    slot_code,
)
from medprotect.confounder.key import Key
from medprotect.confounder.noise import Confounder
from medprotect.confounder.slots import MOST_CLASSES, SLOT_COUNT
from medprotect.errors import PipelineError

KEY = Key(bytes(range(32)))


def draw(slot: int, height: int = 128, width: int = 128, seed: int = 0) -> Tensor:
    white = torch.randn((8, 1, height, width), generator=torch.Generator().manual_seed(seed))
    grain: Tensor = Grain()(white, slot_code(slot).expand(8, -1))
    return grain


def slot_of(period_px: float, direction: str) -> int:
    band = PERIODS_PX.index(period_px) * len(DIRECTIONS) + DIRECTIONS.index(direction)
    return int(default_power()[: len(PERIODS_PX) * len(DIRECTIONS)].argmax(1).tolist().index(band))


@pytest.mark.parametrize("size", [(128, 128), (200, 96), (41, 33)])
def test_grain_is_about_as_strong_as_the_white_noise_that_it_is_made_of(
    size: tuple[int, int],
) -> None:
    for slot in (0, 5, 20, SLOT_COUNT + 3):
        assert 0.7 < float(draw(slot, *size).std()) < 1.3


def test_a_slot_is_as_coarse_as_its_period() -> None:
    coarse, fine = (
        draw(slot_of(period, "across")).diff(dim=-1).abs().mean() for period in (9.0, 2.7)
    )
    assert float(fine) > 2 * float(coarse)


def test_a_slot_runs_its_way() -> None:
    across = draw(slot_of(4.8, "across"))
    assert float(across.diff(dim=-1).abs().mean()) > 2 * float(across.diff(dim=-2).abs().mean())
    along = draw(slot_of(4.8, "along"))
    assert float(along.diff(dim=-2).abs().mean()) > 2 * float(along.diff(dim=-1).abs().mean())


def test_in_a_larger_image_grain_is_as_much_coarser() -> None:
    slot = slot_of(3.6, "across")
    small, large = (draw(slot, side, side).diff(dim=-1).abs().mean() for side in (128, 256))
    assert 1.6 < float(small) / float(large) < 2.4


def test_every_class_has_a_code_of_its_own() -> None:
    codes = {tuple(slot_code(number)[0].tolist()) for number in range(MOST_CLASSES)}
    assert len(codes) == MOST_CLASSES
    with pytest.raises(ValueError, match="so many"):
        slot_code(MOST_CLASSES)


class TestTexture:
    """An image's own texture: stronger in the bands of its class, weaker in those of others."""

    WHITE = torch.randn((1, 1, 128, 128), generator=torch.Generator().manual_seed(4)) / 8 + 0.5

    def change(self, own: dict[int, float], others: dict[int, float], image: Tensor) -> Tensor:
        factors = torch.zeros(2, 1, len(PERIODS_PX) * len(DIRECTIONS))
        for which, named in enumerate((own, others)):
            for band, factor in named.items():
                factors[which, 0, band] = factor
        changed: Tensor = Grain().texture(image, *factors)
        return changed

    def spread_in(self, band: int, image: Tensor) -> float:
        return float(self.change({band: 1.0}, {}, image).std())

    def test_it_grows_in_its_own_bands_and_shrinks_in_those_of_others(self) -> None:
        own, other = 3, 10
        after = self.WHITE + self.change({own: 1.5}, {other: 0.8}, self.WHITE)
        assert self.spread_in(own, after) > 1.9 * self.spread_in(own, self.WHITE)
        assert self.spread_in(other, after) < 0.6 * self.spread_in(other, self.WHITE)

    def test_where_an_image_is_even_nothing_changes(self) -> None:
        even = torch.full((1, 1, 40, 90), 0.7)
        assert float(self.change({3: 4.0}, {4: 1.0}, even).abs().max()) < 1e-4

    def test_an_edge_of_the_image_is_no_edge_in_it(self) -> None:
        slope = torch.linspace(0, 1, 128).expand(1, 1, 128, 128)
        at_edge = self.change({0: 1.0, 3: 1.0}, {}, slope)
        assert float(at_edge.abs().max()) < 0.02

    @pytest.mark.parametrize("size", [(1, 1), (1, 30), (2, 3), (9, 200)])
    def test_images_of_any_size_are_taken(self, size: tuple[int, int]) -> None:
        confounder = Confounder(load_card("labels-mr"), KEY, classes=2)
        image = np.random.default_rng(1).random((*size, 1), np.float32)
        noise = confounder.noise(image, b"hash", 1, np.full(size, 0.03, np.float32))
        assert noise.shape == (*size, 1)
        assert np.isfinite(noise).all()

    def test_it_is_added_only_where_the_budget_is_known(self) -> None:
        confounder = Confounder(load_card("labels-mr"), KEY, classes=2)
        image = self.WHITE[0].permute(1, 2, 0).numpy()
        bound = np.full(image.shape[:2], 0.03, np.float32)
        grain, both = (confounder.noise(image, b"hash", 1, each) for each in (None, bound))
        # What is not half of the grain is texture.
        assert np.abs(both - grain / 2).mean() > 0.2
        assert np.abs(both).max() <= 1

    def test_of_a_larger_copy_the_same_is_changed(self) -> None:
        own = torch.zeros(1, len(PERIODS_PX) * len(DIRECTIONS))
        own[0, 3] = 1.0
        large = self.WHITE.repeat_interleave(2, -1).repeat_interleave(2, -2)
        small, shrunk = (
            Grain().texture(self.WHITE, own, own * 0),
            functional.avg_pool2d(Grain().texture(large, own, own * 0), 2),
        )
        alike = np.corrcoef(small.flatten().numpy(), shrunk.flatten().numpy())[0, 1]
        assert alike > 0.9


class TestKey:
    @pytest.mark.parametrize("classes", [1, 2, 3, 11, 30, 32, 40])
    def test_it_gives_each_class_another_slot(self, classes: int) -> None:
        slots = key_slots(KEY, classes)
        assert len(set(slots)) == classes
        assert max(slots) < MOST_CLASSES

    def test_another_key_gives_classes_other_slots(self) -> None:
        orders = {tuple(key_slots(Key(bytes([number] * 32)), 4)) for number in range(20)}
        assert len(orders) > 5
        assert {tuple(sorted(order)) for order in orders} == {(2, 3, 4, 5)}

    def test_grain_is_another_for_each_image_and_key(self) -> None:
        seeds = {key_seed(key, image) for key in (KEY, Key.new()) for image in (b"one", b"two")}
        assert len(seeds) == 4


class TestNoise:
    IMAGE = np.full((40, 300, 1), 0.5, np.float32)

    def confounder(self, classes: int = 2) -> Confounder:
        return Confounder(load_card("labels-ct"), KEY, classes=classes)

    def test_it_is_repeated_from_key_content_and_label(self) -> None:
        noise = [self.confounder().noise(self.IMAGE, b"hash", label) for label in (0, 0, 1)]
        assert np.array_equal(noise[0], noise[1])
        assert not np.array_equal(noise[0], noise[2])
        assert noise[0].shape == self.IMAGE.shape
        assert np.abs(noise[0]).max() <= 1

    def test_of_a_colour_image_it_is_grey(self) -> None:
        confounder = Confounder(load_card("labels-colour"), KEY, classes=2)
        image = np.random.default_rng(0).random((30, 30, 3), np.float32)
        assert confounder.noise(image, b"hash", 1).shape == (30, 30, 1)

    def test_more_classes_than_codes_are_refused(self) -> None:
        with pytest.raises(PipelineError, match=str(MOST_CLASSES)):
            self.confounder(MOST_CLASSES + 1).noise(self.IMAGE, b"hash", 0)
        with pytest.raises(PipelineError, match="no class 2"):
            self.confounder(2).noise(self.IMAGE, b"hash", 2)
