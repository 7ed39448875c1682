"""Likeness of images: each figure against a formula written in another way."""

import json
import math
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Picture
from scipy import signal, stats

from medprotect.audit.fidelity import compare, fidelity, jpeg
from medprotect.audit.similarity import ms_ssim, ssim, vif

Images = NDArray[np.uint8]


def make_images(count: int = 2, side: int = 28, channels: int = 1, seed: int = 0) -> Images:
    """Smooth shapes with some grain, as anatomy has."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    waves = [
        np.sin(2 * np.pi * (3 * x * random.random() + 2 * y * random.random() + random.random()))
        for _ in range(count * channels)
    ]
    shapes = np.stack(waves).reshape(count, channels, side, side).transpose(0, 2, 3, 1)
    grain = random.normal(0, 6, shapes.shape)
    rounded: Images = (128 + 70 * shapes + grain).clip(0, 255).astype(np.uint8)
    return rounded


def add_noise(images: Images, sd: float, seed: int = 1) -> Images:
    noise = np.random.default_rng(seed).normal(0, sd, images.shape)
    noisy: Images = (images + noise).round().clip(0, 255).astype(np.uint8)
    return noisy


class TestPerfect:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_identical_images_are_perfect(self, channels: int) -> None:
        images = make_images(channels=channels)
        figures = compare(images, images)
        assert figures.pop("psnr_db") == math.inf
        assert [figures.pop(name) for name in ("ssim", "ms_ssim", "vif")] == pytest.approx([1] * 3)
        assert set(figures.values()) == {0.0}

    def test_json_takes_the_figures_of_identical_images(self) -> None:
        images = make_images()
        figures = json.loads(json.dumps(fidelity(images, images), allow_nan=False))
        assert figures["psnr_db"]["protected"] is None
        assert figures["psnr_db"]["jpeg_50"] > 20
        assert figures["ssim"]["jpeg_50"] < 1

    def test_flat_images_have_no_information_to_keep(self) -> None:
        flat = np.full((1, 28, 28, 1), 90, dtype=np.uint8)
        figures = compare(flat, add_noise(flat, 5))
        assert figures["vif"] is None
        assert figures["first_order_sd_percent"] is None


class TestChanges:
    def test_psnr_and_changes_follow_their_definitions(self) -> None:
        clean = make_images(3)
        changed = add_noise(clean, 4)
        change = changed.astype(float) - clean
        each = [20 * math.log10(255 / math.sqrt((one**2).mean())) for one in change]
        figures = compare(clean, changed)
        assert figures["psnr_db"] == pytest.approx(np.mean(each))
        assert figures["max_change"] == np.abs(change).max()
        assert figures["rms_change"] == pytest.approx(math.sqrt((change**2).mean()))
        assert figures["rms_change_percent"] == pytest.approx(100 * change.std() / 255, rel=0.01)

    def test_images_left_as_they_are_do_not_count_in_psnr(self) -> None:
        clean = make_images(2)
        changed = clean.copy()
        changed[1] = clean[1] ^ 1
        assert compare(clean, changed)["psnr_db"] == pytest.approx(20 * math.log10(255))

    def test_stored_units_and_range_need_not_be_eight_bits(self) -> None:
        clean = make_images(2).astype(np.int16) * 8 - 1000
        figures = compare(clean, clean + 16, data_range=(-1000, 1000))
        assert (figures["max_change"], figures["max_change_percent"]) == (16, 0.8)
        assert figures["psnr_db"] == pytest.approx(20 * math.log10(2000 / 16))
        scaled = compare(clean / 2000, (clean + 16) / 2000, data_range=(-0.5, 0.5))
        assert scaled["psnr_db"] == pytest.approx(figures["psnr_db"])
        assert scaled["vif"] == pytest.approx(figures["vif"])

    def test_the_largest_shift_is_of_the_disc_that_moved_most(self) -> None:
        clean = make_images(2, side=32)
        changed = add_noise(clean, 5)
        change = changed.astype(float) - clean
        # A disc 4 pixels across is a square of 4 without its corners.
        inside = np.ones((4, 4))
        inside[[0, 0, 3, 3], [0, 3, 0, 3]] = 0
        means = [
            (one[y : y + 4, x : x + 4, 0] * inside).sum() / 12
            for one in change
            for y in range(29)
            for x in range(29)
        ]
        assert compare(clean, changed)["disc_shift"] == pytest.approx(np.abs(means).max())

    def test_no_image_is_left_out_of_the_largest_change(self) -> None:
        clean = np.repeat(make_images(1, side=8), 450, axis=0)
        for index in (1, 224, 448):
            changed = clean.copy()
            changed[index, 3, 3] ^= 64
            assert compare(clean, changed)["max_change"] == 64


class TestSimilarity:
    def test_ms_ssim_is_that_of_monai_where_it_fits(self) -> None:
        import torch
        from monai.metrics import MultiScaleSSIMMetric

        clean = make_images(1, side=64)
        changed = add_noise(clean, 12)
        weights = np.array([0.0448, 0.2856, 0.3001])
        theirs = MultiScaleSSIMMetric(2, data_range=255, weights=tuple(weights / weights.sum()))
        tensors = [torch.from_numpy(each).permute(0, 3, 1, 2).double() for each in (changed, clean)]
        ours = ms_ssim(clean[0].astype(float), changed[0].astype(float))
        assert ours == pytest.approx(theirs(*tensors).item(), abs=1e-5)

    @pytest.mark.parametrize(
        ("side", "windows"), [(41, (17, 9, 5, 3)), (40, (9, 5, 3)), (16, (5, 3))]
    )
    def test_vif_is_that_of_the_paper(self, side: int, windows: tuple[int, ...]) -> None:
        clean, changed = make_images(1, side), add_noise(make_images(1, side), 10)
        ours = vif(clean[0].astype(float), changed[0].astype(float))
        assert ours == pytest.approx(
            self.vif_of_the_paper(clean[0, ..., 0], changed[0, ..., 0], windows)
        )

    @staticmethod
    def vif_of_the_paper(clean: Images, changed: Images, windows: tuple[int, ...]) -> float:
        c, d = clean.astype(float), changed.astype(float)
        kept = there = 0.0
        for scale, side in enumerate(windows):
            y, x = np.mgrid[:side, :side] - side // 2
            window = np.exp(-(x**2 + y**2) / (2 * (side / 5) ** 2))
            window /= window.sum()
            if scale:
                c, d = (signal.convolve2d(each, window, "valid")[::2, ::2] for each in (c, d))
            means = [
                signal.convolve2d(each, window, "valid") for each in (c, d, c * c, d * d, c * d)
            ]
            c_variance, d_variance = means[2] - means[0] ** 2, means[3] - means[1] ** 2
            gain = np.maximum((means[4] - means[0] * means[1]) / c_variance, 0)
            rest = d_variance - gain**2 * c_variance
            kept += np.log10(1 + gain**2 * c_variance / (rest + 2)).sum()
            there += np.log10(1 + c_variance / 2).sum()
        return kept / there

    @pytest.mark.parametrize("side", [8, 28, 64])
    def test_vif_falls_with_noise_and_rises_with_contrast(self, side: int) -> None:
        clean = make_images(2, side)
        found = [compare(clean, add_noise(clean, sd))["vif"] or 0 for sd in (2, 6, 18, 54)]
        assert found == sorted(found, reverse=True)
        assert 1 > found[0] > 0.5 > found[-1] > 0
        stretched = (clean - 128.0) * 1.2 + 128
        assert (compare(clean.astype(float), stretched, data_range=(0, 255))["vif"] or 0) > 1

    def test_what_is_too_small_is_not_measured(self) -> None:
        tiny = make_images(1, side=6)[0].astype(float)
        assert (ssim(tiny, tiny), ms_ssim(tiny, tiny), vif(tiny, tiny)) == (None, None, None)
        assert compare(make_images(1, side=6), make_images(1, side=6, seed=3))["ssim"] is None


class TestFeatures:
    def test_grey_value_features_are_those_of_scipy(self) -> None:
        clean = make_images(1, side=40)
        changed = add_noise(clean, 15)
        figures = compare(clean, changed)

        def entropy(image: Images) -> float:
            counts = np.histogram(image, bins=32, range=(0, 256))[0]
            return float(stats.entropy(counts, base=2))

        known = {
            "mean": np.mean,
            "sd": np.std,
            "skewness": lambda image: stats.skew(image, axis=None),
            "kurtosis": lambda image: stats.kurtosis(image, axis=None, fisher=False),
            "entropy": entropy,
        }
        for name, measure in known.items():
            before, after = (float(measure(each.astype(float))) for each in (clean, changed))
            expected = 100 * abs(after - before) / abs(before)
            assert figures[f"first_order_{name}_percent"] == pytest.approx(expected), name

    def test_texture_contrast_of_stripes_is_known(self) -> None:
        clean = np.zeros((1, 16, 16, 1), dtype=np.uint8)
        clean[:, :, ::2] = 255
        # Level 31 beside level 0 becomes level 15: contrast, the square, falls to 225 of 961.
        figures = compare(clean, clean // 2)
        assert figures["texture_contrast_percent"] == pytest.approx(100 * (1 - 225 / 961))
        assert figures["texture_energy_percent"] == pytest.approx(0)

    def test_texture_features_are_of_neighbours_in_four_directions(self) -> None:
        clean = make_images(1, side=24)
        changed = add_noise(clean, 15)
        figures = compare(clean, changed)
        before, after = (self.textures(each[0, ..., 0] // 8) for each in (clean, changed))
        for name, was in before.items():
            expected = 100 * abs(after[name] - was) / abs(was)
            assert figures[f"texture_{name}_percent"] == pytest.approx(expected), name

    @staticmethod
    def textures(levels: Images) -> dict[str, float]:
        grey = levels.astype(float)
        pairs = [
            (grey[:, 1:], grey[:, :-1]),
            (grey[1:], grey[:-1]),
            (grey[1:, 1:], grey[:-1, :-1]),
            (grey[1:, :-1], grey[:-1, 1:]),
        ]
        # Each pair counts both ways round.
        both = [
            (np.append(one.ravel(), two.ravel()), np.append(two.ravel(), one.ravel()))
            for one, two in pairs
        ]
        return {
            "contrast": float(np.mean([((one - two) ** 2).mean() for one, two in both])),
            "homogeneity": float(
                np.mean([(1 / (1 + (one - two) ** 2)).mean() for one, two in both])
            ),
            "correlation": float(np.mean([np.corrcoef(one, two)[0, 1] for one, two in both])),
        }


class TestYardstick:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_it_is_jpeg_as_anybody_saves_it(self, channels: int) -> None:
        images = make_images(2, channels=channels)
        stream = BytesIO()
        Picture.fromarray(images[1].squeeze()).save(stream, "JPEG", quality=50)
        with Picture.open(stream) as picture:
            expected = np.asarray(picture).reshape(images[1].shape)
        assert np.array_equal(jpeg(images, (0, 255))[1], expected)

    def test_it_comes_back_in_stored_units(self) -> None:
        images = make_images(2, side=32, channels=2).astype(np.int16) * 16 - 1024
        back = jpeg(images, (-1024, 3056))
        assert (back.dtype, back.shape) == (images.dtype, images.shape)
        assert np.abs(back.astype(float) - images).mean() < 16 * 8
        eight = jpeg(make_images(2, side=32, channels=2), (0, 255))
        assert np.array_equal(back, eight.astype(np.int16) * 16 - 1024)

    def test_less_noise_than_jpeg_is_closer(self) -> None:
        clean = make_images(4)
        figures = fidelity(clean, add_noise(clean, 1))
        for name in ("psnr_db", "ssim", "ms_ssim", "vif"):
            beside = figures[name]
            assert (beside["protected"] or 0) > (beside["jpeg_50"] or 1), name


class TestRefused:
    def test_shapes_that_differ(self) -> None:
        with pytest.raises(ValueError, match="of one shape"):
            compare(make_images(2), make_images(3))

    def test_no_images(self) -> None:
        with pytest.raises(ValueError, match="of one shape"):
            compare(make_images(1)[:0], make_images(1)[:0])

    def test_an_empty_range(self) -> None:
        flat = np.zeros((1, 28, 28, 1))
        with pytest.raises(ValueError, match="range"):
            compare(flat, flat)
