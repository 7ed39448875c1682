import numpy as np
import pytest
import torch
from torch import Tensor

from medprotect.confounder.card import load_card
from medprotect.confounder.codes import key_seed, key_slots
from medprotect.confounder.grain import (
    DIRECTIONS,
    MOST_CLASSES,
    PERIODS_PX,
    SLOT_COUNT,
    Grain,
    default_power,
    slot_code,
)
from medprotect.confounder.key import Key
from medprotect.confounder.noise import Confounder
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
