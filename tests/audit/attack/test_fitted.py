"""What an attacker learns before training."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from medprotect.audit.attack.countermeasure import Aid, Countermeasure
from medprotect.audit.attack.fitted import (
    Autoencoder,
    Diffusion,
    Inverse,
    OrthogonalProjection,
    Restorer,
    draw_noise,
    noise_levels,
)
from medprotect.audit.halves import Labelled
from medprotect.errors import ConfigError

from .scenes import CLASSES, Images, classwise, distance, scenes, speckle


class TestOrthogonalProjection:
    def pattern_left(self, treated: Images, clean: Images) -> float:
        """How much of the classes' patterns is in the difference, of what was."""
        change = treated.astype(float) - clean
        means = np.stack([change[label::CLASSES].mean(0) for label in range(CLASSES)])
        return float(np.abs(means - means.mean(0)).mean())

    def test_what_a_linear_model_reads_is_projected_out(self) -> None:
        clean, protected = classwise(300, 1)
        countermeasure = OrthogonalProjection(steps=300)
        countermeasure.prepare(protected, Aid(), seed=1)
        left = self.pattern_left(countermeasure.treat(protected.images), clean)
        assert left < 0.4 * self.pattern_left(protected.images, clean)

    def test_what_it_does_not_read_stays(self) -> None:
        clean, protected = classwise(300, 1)
        countermeasure = OrthogonalProjection(steps=300)
        countermeasure.prepare(protected, Aid(), seed=1)
        assert distance(countermeasure.treat(clean), clean) < 0.25 * float(clean.std())

    def test_the_mean_image_stays(self) -> None:
        _, protected = classwise(300, 1)
        countermeasure = OrthogonalProjection(steps=50)
        countermeasure.prepare(protected, Aid(), seed=1)
        treated = countermeasure.treat(protected.images)
        assert np.abs(treated.mean(0) - protected.images.mean(0)).max() < 1

    def test_treating_twice_is_treating_once(self) -> None:
        _, protected = classwise(60, 3)
        countermeasure = OrthogonalProjection(steps=50)
        countermeasure.prepare(protected, Aid(), seed=1)
        once = countermeasure.treat(protected.images)
        assert distance(countermeasure.treat(once), once) < 0.5
        assert distance(once, protected.images) > 2


class TestAutoencoder:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_it_removes_noise_that_it_has_never_seen(self, channels: int) -> None:
        clean = scenes(40, channels, seed=8)
        noisy = speckle(clean)
        countermeasure = Autoencoder(steps=40)
        other = scenes(200, channels, seed=9)
        countermeasure.prepare(Labelled(noisy, np.zeros(40, np.int64)), Aid(other), seed=1)
        assert distance(countermeasure.treat(noisy), clean) < 0.85 * distance(noisy, clean)

    def test_its_noise_is_bounded_and_of_several_sizes(self) -> None:
        rng = torch.Generator().manual_seed(1)
        noises = [draw_noise(torch.Size((2, 1, 9, 9)), 0.125, rng) for _ in range(20)]
        assert all(float(noise.abs().max()) <= 0.125 for noise in noises)
        coarse = [bool((noise[..., 0] == noise[..., 1]).all()) for noise in noises]
        extreme = [bool((noise.abs() == noise.abs().max()).all()) for noise in noises]
        assert 0 < sum(coarse) < 20
        assert 0 < sum(extreme) < 20


class TestDiffusion:
    def test_levels_are_those_of_ddpm(self) -> None:
        levels = noise_levels()
        assert len(levels) == 1000
        assert float(levels[0]) == pytest.approx(0.5 * (1e-4 / (1 - 1e-4)) ** 0.5, rel=1e-3)
        assert bool((levels.diff() > 0).all())
        assert float(levels[-1]) > 50  # hardly any image is left

    def test_noise_is_drowned_and_the_image_comes_back(self) -> None:
        clean = scenes(30, 1, seed=8)
        countermeasure = Diffusion(steps=40, strides=5)
        train = Labelled(speckle(clean), np.zeros(30, np.int64))
        countermeasure.prepare(train, Aid(scenes(200, 1, seed=9)), seed=1)
        treated = countermeasure.treat(train.images)
        noise, change = (images.astype(float) - clean for images in (train.images, treated))
        assert (change * noise).mean() < 0.3 * (noise * noise).mean()
        drowned = 255 * float(countermeasure.levels[-1])
        assert distance(treated, clean) < 0.6 * drowned

    def test_noise_of_the_starting_time_is_added(self) -> None:
        clean = scenes(20, 1)
        countermeasure = Diffusion(start=50, strides=1, steps=1)  # one step back, that does nothing
        countermeasure.prepare(Labelled(clean, np.zeros(20, np.int64)), Aid(clean), seed=1)
        added = distance(countermeasure.treat(clean), clean)
        assert added == pytest.approx(255 * float(noise_levels()[49]), rel=0.1)

    def test_starting_later_changes_more(self) -> None:
        clean = scenes(20, 1, seed=8)
        train = Labelled(clean, np.zeros(20, np.int64))
        changes = []
        for start in (5, 300):
            countermeasure = Diffusion(start=start, strides=3, steps=20)
            countermeasure.prepare(train, Aid(scenes(100, 1, seed=9)), seed=1)
            changes.append(distance(countermeasure.treat(clean), clean))
        assert 2 * changes[0] < changes[1]


class TestInverse:
    def test_leaked_pairs_lead_back_to_clean_images(self) -> None:
        clean, protected = classwise(60, 1, seed=8)
        leaked, leaked_protected = classwise(200, 1, seed=9)
        countermeasure = Inverse(steps=50)
        aid = Aid(leaked_clean=leaked, leaked_protected=leaked_protected.images)
        countermeasure.prepare(protected, aid, seed=1)
        back = countermeasure.treat(protected.images)
        assert distance(back, clean) < 0.5 * distance(protected.images, clean)

    def test_tested_images_stay(self) -> None:
        images = scenes(3, 1)
        assert np.array_equal(Inverse().treat_tested(images), images)

    @pytest.mark.parametrize(
        ("aid", "reason"),
        [
            (Aid(), "needs leaked pairs"),
            (Aid(leaked_clean=scenes(4, 1)), "needs leaked pairs"),
            (Aid(leaked_protected=scenes(4, 1)), "needs leaked pairs"),
            (Aid(None, scenes(0, 1), scenes(0, 1)), "needs leaked pairs"),
            (Aid(None, scenes(4, 1), scenes(3, 1)), "not pairs"),
            (Aid(None, scenes(4, 3), scenes(4, 3)), "not of the size"),
        ],
    )
    def test_pairs_that_do_not_fit_are_refused(self, aid: Aid, reason: str) -> None:
        with pytest.raises(ConfigError, match=reason):
            Inverse(steps=1).prepare(Labelled(scenes(3, 1), np.arange(3)), aid, seed=1)


@pytest.mark.parametrize("kind", [Autoencoder, Diffusion])
@pytest.mark.parametrize(
    ("other", "reason"),
    [(None, "needs clean images"), (scenes(0, 1), "needs clean images"), (scenes(4, 3), "channel")],
)
def test_other_images_that_do_not_fit_are_refused(
    kind: Callable[..., Countermeasure], other: Images | None, reason: str
) -> None:
    train = Labelled(scenes(3, 1), np.arange(3))
    with pytest.raises(ConfigError, match=reason):
        kind(steps=1).prepare(train, Aid(other), seed=1)


@pytest.mark.parametrize("kind", [Autoencoder, Diffusion])
def test_the_other_images_may_be_of_another_size(kind: Callable[..., Countermeasure]) -> None:
    train = Labelled(scenes(3, 1), np.arange(3))
    countermeasure = kind(steps=2)
    countermeasure.prepare(train, Aid(scenes(4, 1, side=(20, 13))), seed=1)
    assert countermeasure.treat(train.images).shape == train.images.shape


@pytest.mark.parametrize("size", [(16, 16), (17, 30), (2, 5)])
def test_the_network_begins_as_identity_for_any_size(size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size) - 0.5
    assert torch.equal(Restorer(3)(images), images)
