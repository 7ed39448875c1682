"""The noise of one image: bounded, repeatable, from hash-checked weights alone."""

import hashlib
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from medprotect.confounder.along_z import COHERENT, INDEPENDENT
from medprotect.confounder.card import GAIN, Card, Codes, Images, Noise, Training, load_card
from medprotect.confounder.codes import key_phase
from medprotect.confounder.key import Key
from medprotect.confounder.noise import (
    UNET_SHARE,
    Confounder,
    NoiseNetwork,
    fill,
    mute_chroma,
    network_arguments,
    shrink,
)
from medprotect.errors import ConfigError, HashMismatchError, PipelineError
from medprotect.training.export import export
from medprotect.training.gan import Trained, train
from medprotect.training.recipe import Recipe
from medprotect.training.samples import Samples

KEY = Key(bytes(range(32)))
CONTENT = hashlib.sha256(b"content").digest()
Stripes = Callable[..., Samples]
Make = Callable[..., Card]


@pytest.fixture(scope="module")
def train_once(stripes: Stripes, recipe: Recipe) -> Callable[[int, bool], Trained]:
    return cache(
        lambda channels, decoys: train(stripes(channels=channels), replace(recipe, decoys=decoys))
    )


@pytest.fixture
def make(train_once: Callable[[int, bool], Trained], recipe: Recipe, tmp_path: Path) -> Make:
    """`make(channels, decoys)` exports a tiny pipeline, just trained, and returns its card."""

    def build(channels: int = 1, decoys: bool = True) -> Card:
        return export(
            train_once(channels, decoys),
            replace(recipe, decoys=decoys),
            tmp_path / f"pipeline-{channels}-{decoys}",
            name="tiny",
            title="Tiny",
            images=Images(
                modalities=("CT",),
                photometrics=("MONOCHROME2",),
                channels=channels,
                canonical_size=24,
                assigner_size=12,
            ),
            codes=Codes(classes=("across", "up", "along", "down")),
            training=Training(data="stripes"),
        )

    return build


def picture(height: int, width: int, channels: int = 1) -> NDArray[np.float32]:
    rows, columns = np.mgrid[:height, :width]
    plane = 0.5 + 0.4 * np.sin(rows / 3 + columns / 5)
    return np.repeat(plane[..., None], channels, axis=2).astype(np.float32)


@pytest.mark.parametrize("size", [(12, 12), (24, 24), (25, 13), (100, 37), (1, 1), (1, 90), (3, 2)])
def test_noise_has_the_shape_of_the_image_and_stays_within_one(
    make: Make, size: tuple[int, int]
) -> None:
    noise = Confounder(make(), KEY).noise(picture(*size), CONTENT)
    assert noise.shape == (*size, 1)
    assert noise.dtype == np.float32
    assert np.isfinite(noise).all()
    assert np.abs(noise).max() <= 1


def test_noise_of_a_grey_image_is_bounded_after_its_channels_are_one() -> None:
    card = load_card("blood-microscopy")
    grey = picture(300, 200)
    network = NoiseNetwork(**network_arguments(card)).eval()
    fill(network, card)
    with torch.inference_mode():
        image = torch.from_numpy(np.repeat(grey, 3, axis=2)).permute(2, 0, 1)[None].contiguous()
        made = network.unbounded(image, network.posterior(image), None, key_phase(KEY))
    assert float(made.abs().max()) > 1, "else the order would not matter"
    expected = UNET_SHARE * made.mean(1).clamp(-1, 1)[0].numpy()
    assert np.array_equal(Confounder(card, KEY).noise(grey, CONTENT)[..., 0], expected)
    assert not np.array_equal(UNET_SHARE * made.clamp(-1, 1).mean(1)[0].numpy(), expected)


def test_noise_is_there(make: Make) -> None:
    noise = Confounder(make(), KEY).noise(picture(64, 64), CONTENT)
    assert np.sqrt((noise**2).mean()) > 0.3


def test_the_greater_the_gain_the_nearer_is_noise_to_its_bound(make: Make) -> None:
    card = make()
    amplitudes = [
        np.abs(
            Confounder(replace(card, noise=Noise(gain=gain)), KEY).noise(picture(24, 24), CONTENT)
        )
        for gain in (0.5, 2.0, 8.0)
    ]
    means = [float(each.mean()) for each in amplitudes]
    assert means == sorted(means)
    assert means[0] < 0.5 * UNET_SHARE < 0.8 * UNET_SHARE < means[2]
    assert amplitudes[2].max() <= UNET_SHARE


def test_a_pipeline_gives_noise_at_the_gain_of_its_recipe(make: Make, recipe: Recipe) -> None:
    assert make().noise.gain == recipe.gain > GAIN


def test_a_card_states_how_its_generator_was_trained(make: Make, recipe: Recipe) -> None:
    training = make().training
    assert (training.steps, training.seed, training.tries) == (recipe.steps, recipe.seed, 1)


def test_noise_depends_on_nothing_that_came_before(make: Make) -> None:
    card = make()
    one, two = picture(30, 30), picture(40, 20)
    forwards, backwards = Confounder(card, KEY), Confounder(card, KEY)
    first = [forwards.noise(one, CONTENT), forwards.noise(two, CONTENT)]
    second = [backwards.noise(two, CONTENT), backwards.noise(one, CONTENT)]
    assert np.array_equal(first[0], second[1])
    assert np.array_equal(first[1], second[0])


def test_noise_is_the_same_in_another_process(make: Make) -> None:
    card = make()
    code = (
        "import sys, hashlib, numpy as np\n"
        "from pathlib import Path\n"
        "import torch; torch.set_num_threads(1)\n"
        "from medprotect.confounder.card import load_card\n"
        "from medprotect.confounder.key import Key\n"
        "from medprotect.confounder.noise import Confounder\n"
        "made = Confounder(load_card(Path(sys.argv[1])), Key(bytes(range(32))))\n"
        "image = np.full((40, 40, 1), 0.25, np.float32)\n"
        "noise = made.noise(image, hashlib.sha256(b'content').digest())\n"
        "print(hashlib.sha256(noise.tobytes()).hexdigest())\n"
    )
    prints = [
        subprocess.run(
            [sys.executable, "-c", code, str(card.folder)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert prints[0] == prints[1]
    assert len(prints[0]) == 65


def test_another_key_gives_other_noise(make: Make) -> None:
    card = make()
    keys = [Key(bytes([number]) * 32) for number in range(4)]
    noises = [Confounder(card, key).noise(picture(24, 24), CONTENT) for key in keys]
    assert len({noise.tobytes() for noise in noises}) > 1


def test_decoys_follow_the_content_and_only_where_they_are_on(make: Make) -> None:
    contents = [hashlib.sha256(bytes([number])).digest() for number in range(12)]
    for decoys, expected in ((True, 3), (False, 1)):
        confounder = Confounder(make(decoys=decoys), KEY)
        noises = {confounder.noise(picture(12, 12), content).tobytes() for content in contents}
        assert len(noises) == expected  # 4 classes: 3 wrong ones


def test_a_known_label_is_the_code_and_no_other_class_will_do(make: Make) -> None:
    confounder = Confounder(make(decoys=False), KEY)
    noises = [confounder.noise(picture(12, 12), CONTENT, label) for label in range(4)]
    assert len({noise.tobytes() for noise in noises}) == 4
    for label in (-1, 4):
        with pytest.raises(PipelineError, match="no class"):
            confounder.noise(picture(12, 12), CONTENT, label)


def test_keys_differ_in_where_their_textures_begin(make: Make) -> None:
    card = make(decoys=False)
    keys = [Key(bytes([number]) * 32) for number in range(6)]
    noises = {Confounder(card, key).noise(picture(12, 12), CONTENT).tobytes() for key in keys}
    assert len(noises) == len({key_phase(key) for key in keys}) > 1


def test_along_z_slices_share_where_their_textures_begin_unless_they_are_independent(
    make: Make,
) -> None:
    card = make(decoys=False)
    contents = [hashlib.sha256(bytes([number])).digest() for number in range(6)]
    for along_z, expected in ((COHERENT, 1), (INDEPENDENT, 6)):
        confounder = Confounder(card, KEY, along_z=along_z)
        noises = [confounder.noise(picture(12, 12), content).tobytes() for content in contents]
        assert len(set(noises)) == expected
        assert noises[::-1] == [
            confounder.noise(picture(12, 12), content).tobytes() for content in contents[::-1]
        ]
    with pytest.raises(ConfigError, match="coherent, independent"):
        Confounder(card, KEY, along_z="alike")


def test_the_posterior_is_one_distribution_over_the_classes(make: Make) -> None:
    posterior = Confounder(make(), KEY).posterior(picture(50, 50))
    assert posterior.shape == (4,)
    assert posterior.sum() == pytest.approx(1, abs=1e-5)


def test_a_colour_pipeline_takes_colour_and_grey(make: Make) -> None:
    confounder = Confounder(make(channels=3), KEY)
    assert confounder.noise(picture(20, 20, 3), CONTENT).shape == (20, 20, 3)
    assert confounder.noise(picture(20, 20, 1), CONTENT).shape == (20, 20, 1)


@pytest.mark.parametrize("shape", [(20, 20, 3), (20, 20, 2), (20, 20), (20, 20, 0)])
def test_a_grey_pipeline_refuses_other_channels(make: Make, shape: tuple[int, ...]) -> None:
    with pytest.raises(PipelineError, match="channels"):
        Confounder(make(), KEY).noise(np.zeros(shape, np.float32), CONTENT)


def test_large_images_are_brought_to_the_canonical_grid(make: Make) -> None:
    noise = Confounder(make(), KEY).noise(picture(240, 240), CONTENT)[..., 0]
    # Upsampled tenfold, so neighbours hardly differ.
    assert np.abs(np.diff(noise, axis=0)).mean() < 0.25


def test_any_flipped_bit_of_the_weights_is_found(make: Make) -> None:
    card = make()
    data = card.weights_path.read_bytes()
    for place in np.linspace(0, len(data) - 1, 100).astype(int):
        damaged = bytearray(data)
        damaged[place] ^= 1 << (place % 8)
        card.weights_path.write_bytes(bytes(damaged))
        with pytest.raises(HashMismatchError):
            Confounder(card, KEY)


def with_weights(card: Card, data: bytes) -> Card:
    """Return a card that vouches for other weights, as a hostile one would."""
    card.weights_path.write_bytes(data)
    weights = replace(card.weights, sha256=hashlib.sha256(data).hexdigest())
    return replace(card, weights=weights)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04cos\nsystem\n(S'touch canary'\ntR.",
        struct.pack("<Q", 2**40) + b"{}",
        struct.pack("<Q", 2**20 + 1) + b" " * (2**20 + 1),
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 10) + b"not json!!",
    ],
)
def test_weights_that_are_no_safetensors_are_refused(make: Make, data: bytes) -> None:
    with pytest.raises(PipelineError):
        Confounder(with_weights(make(), data), KEY)


def test_tensors_that_reach_out_of_the_file_are_refused(make: Make) -> None:
    header = {"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}
    text = json.dumps(header).encode()
    data = struct.pack("<Q", len(text)) + text + b"\0" * 8
    with pytest.raises(PipelineError):
        Confounder(with_weights(make(), data), KEY)


def test_weights_of_other_shapes_or_not_numbers_are_refused(make: Make, tmp_path: Path) -> None:
    card = make()
    tensors = load_file(card.weights_path)
    name = "generator.leave.weight"
    for change in (tensors[name][:, :1].clone(), tensors[name] * float("nan")):
        save_file({**tensors, name: change}, tmp_path / "other")
        with pytest.raises(PipelineError):
            Confounder(with_weights(card, (tmp_path / "other").read_bytes()), KEY)


def test_missing_weights_are_named_as_such(make: Make) -> None:
    card = make()
    card.weights_path.unlink()
    with pytest.raises(PipelineError, match="missing"):
        Confounder(card, KEY)


def test_the_backend_tells_what_the_bytes_depend_on(make: Make) -> None:
    backend = Confounder(make(), KEY).backend()
    assert backend["torch"] == torch.__version__
    assert set(backend) == {"torch", "cpu_capability", "device", "threads", "batch"}
    assert json.loads(json.dumps(backend)) == backend


def test_an_exported_pipeline_is_private_and_complete(make: Make) -> None:
    card = make()
    files = sorted(path for path in card.folder.rglob("*") if path.is_file())
    assert [path.name for path in files] == ["card.toml", "README.md", "generator.safetensors"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)
    assert load_card(card.folder) == card


def test_shrinking_never_enlarges_nor_loses_a_side() -> None:
    assert shrink(torch.zeros(1, 1, 10, 20), 20).shape == (1, 1, 10, 20)
    assert shrink(torch.zeros(1, 1, 10, 200), 20).shape == (1, 1, 1, 20)
    assert shrink(torch.zeros(1, 1, 1, 2000), 20).shape == (1, 1, 1, 20)


@pytest.mark.parametrize("name", ["blood-microscopy", "radiology-grey"])
@pytest.mark.parametrize("size", [(28, 28), (64, 64), (512, 512)])
def test_shipped_pipelines_make_noise(name: str, size: tuple[int, int]) -> None:
    card = load_card(name)
    image = picture(*size, card.images.channels)
    noise = Confounder(card, KEY).noise(image, CONTENT)
    assert noise.shape == image.shape
    assert 0.3 * UNET_SHARE < np.sqrt((noise**2).mean()) <= 1
    assert np.abs(noise.mean()) < 0.2


class TestColourOfStretchedNoise:
    def test_it_is_divided_by_the_stretch_and_the_spread_stays(self) -> None:
        noise = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        muted = mute_chroma(noise, 8.0)
        colour = noise - noise.mean(1, keepdim=True)
        left = muted - muted.mean(1, keepdim=True)
        assert torch.allclose(left, colour / 8, atol=1e-6)
        assert float(muted.square().mean()) == pytest.approx(float(noise.square().mean()), rel=0.1)

    def test_noise_without_any_brightness_stays_finite(self) -> None:
        noise = torch.zeros(1, 3, 8, 8)
        noise[:, 0], noise[:, 1] = 1, -1
        assert bool(torch.isfinite(mute_chroma(noise, 4.0)).all())
