"""All countermeasures keep the same promises."""

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from medprotect.audit.attack import COUNTERMEASURES
from medprotect.audit.attack.countermeasure import Aid, Countermeasure, to_tensor
from medprotect.audit.attack.fitted import Autoencoder, Diffusion, Inverse, OrthogonalProjection
from medprotect.audit.halves import Labelled

from .scenes import CLASSES, Watched, scenes, speckle

NAMES = list(COUNTERMEASURES)
QUICK: dict[str, Callable[[], Countermeasure]] = {
    **COUNTERMEASURES,
    "orthogonal-projection": lambda: OrthogonalProjection(steps=5),
    "autoencoder": lambda: Autoencoder(steps=3),
    "diffusion": lambda: Diffusion(steps=3, strides=3),
    "inverse": lambda: Inverse(steps=3),
}
LEAVING = {"none", "background", "weight-noise"}
"""What leaves images without a background as they are."""
IN_TRAINING = ["cutout", "mixup", "cutmix", "ueraser", "warps", "adversarial-training"]


def prepared(name: str, channels: int, side: tuple[int, int] = (16, 16)) -> Countermeasure:
    clean = scenes(6, channels, side=side)
    train = Labelled(speckle(clean), np.arange(6) % CLASSES)
    countermeasure = QUICK[name]()
    countermeasure.prepare(train, Aid(clean, clean, train.images), seed=1)
    return countermeasure


def loss_of(name: str, network: Watched, channels: int, seed: int) -> torch.Tensor:
    images = to_tensor(speckle(scenes(6, channels)))
    labels = torch.arange(6) % CLASSES
    rng = torch.Generator().manual_seed(seed)
    return COUNTERMEASURES[name]().loss(network, images, labels, rng)


def test_doing_nothing_comes_first() -> None:
    assert NAMES[0] == "none"
    assert type(COUNTERMEASURES["none"]()) is Countermeasure


@pytest.mark.parametrize("name", NAMES)
def test_each_is_called_what_it_is_registered_as(name: str) -> None:
    assert COUNTERMEASURES[name]().name == name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("channels", "side"), [(1, (16, 16)), (3, (16, 16)), (3, (15, 18))])
def test_treated_images_keep_shape_and_dtype(
    name: str, channels: int, side: tuple[int, int]
) -> None:
    countermeasure = prepared(name, channels, side)
    images = speckle(scenes(4, channels, side=side))
    before = images.copy()
    for treated in (countermeasure.treat(images), countermeasure.treat_tested(images)):
        assert treated.shape == images.shape
        assert treated.dtype == np.uint8
    assert np.array_equal(images, before)


@pytest.mark.parametrize("name", NAMES)
def test_treatment_repeats_from_its_seed(name: str) -> None:
    images = speckle(scenes(4, 3), seed=4)
    first, second = prepared(name, 3), prepared(name, 3)
    assert np.array_equal(first.treat(images), second.treat(images))
    assert np.array_equal(first.treat(images), first.treat(images))


@pytest.mark.parametrize("name", sorted(set(NAMES) - {*LEAVING, *IN_TRAINING}))
def test_all_others_change_the_images(name: str) -> None:
    images = speckle(scenes(4, 3), seed=4)
    assert not np.array_equal(prepared(name, 3).treat(images), images)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_the_loss_repeats_from_its_generator_and_leaves_the_global_one(
    name: str, channels: int
) -> None:
    state = torch.random.get_rng_state()
    losses = [float(loss_of(name, Watched(channels), channels, seed=2).detach()) for _ in range(2)]
    assert losses[0] == losses[1]
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("name", IN_TRAINING)
def test_what_is_drawn_in_training_differs_from_seed_to_seed(name: str) -> None:
    one, other = (float(loss_of(name, Watched(3), 3, seed).detach()) for seed in (1, 2))
    assert one != other


@pytest.mark.parametrize("name", NAMES)
def test_the_victim_gets_gradients(name: str) -> None:
    network = Watched(3)
    loss_of(name, network, 3, seed=1).backward()
    assert network.weight.grad is not None
    assert float(network.weight.grad.abs().sum()) > 0


@pytest.mark.parametrize("name", IN_TRAINING)
def test_the_victim_is_shown_images_within_their_range(name: str) -> None:
    network = Watched(3)
    loss_of(name, network, 3, seed=1)
    for shown in network.shown:
        assert float(shown.min()) >= -0.5
        assert float(shown.max()) <= 0.5


@pytest.mark.parametrize("name", ["autoencoder", "diffusion", "inverse", "orthogonal-projection"])
def test_fitting_leaves_the_global_generator(name: str) -> None:
    state = torch.random.get_rng_state()
    prepared(name, 1)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("name", NAMES)
def test_the_trained_victim_may_be_used_and_stays_as_it_is(name: str) -> None:
    network = Watched(3)
    before = network.weight.detach().clone()
    variants = list(prepared(name, 3).variants(network))
    assert variants[0] is network
    assert (len(variants) > 1) == (name == "weight-noise")
    assert torch.equal(network.weight, before)


def test_naming_them_loads_no_filters() -> None:
    script = "import medprotect.audit.attack, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert {"scipy", "skimage", "monai"}.isdisjoint(done.stdout.split())
