"""What attackers do to the images before training."""

import math
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL.Image import Resampling

from medprotect.audit.attack.countermeasure import Aid, Countermeasure, Images
from medprotect.audit.halves import Labelled


class Blur(Countermeasure):
    """A Gaussian takes away what is finer than it.

    One of the defences of T. Qin, X. Gao, J. Zhao, K. Ye, C.-Z. Xu. *APBench: A unified
    availability poisoning attack and defenses benchmark.* TMLR 2024. There its sigma is 0.1 pixels,
    which changes nothing; here half a pixel and more.

    Parameters
    ----------
    sigma : float
        Of the Gaussian, in pixels.
    """

    def __init__(self, sigma: float = 1.0) -> None:
        self.name = f"blur-{sigma:g}"
        self.sigma = sigma

    def treat(self, images: Images) -> Images:
        """Return the images blurred, each channel for itself."""
        return np.stack([self._blur(image) for image in images])

    def _blur(self, image: Images) -> Images:
        from scipy.ndimage import gaussian_filter

        sigmas = (self.sigma, self.sigma, 0)
        blurred: Images = gaussian_filter(image.astype(np.float32), sigmas).round().astype(np.uint8)
        return blurred


class Jpeg(Countermeasure):
    """Compression keeps what the eye sees, and colour at half the resolution.

    Z. Liu, Z. Zhao, M. Larson. *Image shortcut squeezing: countering perturbative availability
    poisons with compression.* ICML 2023, arXiv:2301.13838; there at quality 10.

    Parameters
    ----------
    quality : int
        1 to 95, as Pillow has it; colour is subsampled 4:2:0.
    """

    def __init__(self, quality: int = 10) -> None:
        self.name = f"jpeg-{quality}"
        self.quality = quality

    def treat(self, images: Images) -> Images:
        """Return the images encoded and decoded again."""
        return np.stack([recode(image, self.quality) for image in images])


def recode(image: Images, quality: int) -> Images:
    """Pass one image (H, W, C) through a JPEG file."""
    stream = BytesIO()
    to_picture(image).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
    with Picture.open(stream) as picture:
        return from_picture(picture)


class Grey(Countermeasure):
    """Colour is replaced by its luminance (ITU-R BT.601); grey images stay as they are.

    Z. Liu, Z. Zhao, M. Larson. *Image shortcut squeezing: countering perturbative availability
    poisons with compression.* ICML 2023, arXiv:2301.13838.
    """

    name = "grey"

    def treat(self, images: Images) -> Images:
        """Return the luminance, in as many channels as before."""
        if images.shape[3] == 1:
            return images
        luminance = (images @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)
        return np.repeat(luminance[..., None], 3, axis=3)


class Posterise(Countermeasure):
    """Only the upper bits of each channel are kept.

    Bit depth reduction: Z. Liu, Z. Zhao, M. Larson. *Image shortcut squeezing: countering
    perturbative availability poisons with compression.* ICML 2023, arXiv:2301.13838; there with 2
    bits.

    Parameters
    ----------
    bits : int
        1 to 8.
    """

    def __init__(self, bits: int = 2) -> None:
        self.name = f"posterise-{bits}"
        self.bits = bits

    def treat(self, images: Images) -> Images:
        """Return the images with the lower bits zero."""
        return images & np.uint8(0xFF << (8 - self.bits) & 0xFF)


class HalfSize(Countermeasure):
    """Shrunk to half of each side and enlarged again: the upper half of all frequencies is lost.

    Resizing as a defence: C. Guo, M. Rana, M. Cisse, L. van der Maaten. *Countering adversarial
    images using input transformations.* ICLR 2018, arXiv:1711.00117; half the resolution is also
    what VoxShield (arXiv:2605.17345, 2026) tests its noise with.
    """

    name = "half-size"

    def treat(self, images: Images) -> Images:
        """Return the images at half their resolution, of the same size."""
        return np.stack([_halve(image) for image in images])


def _halve(image: Images) -> Images:
    picture = to_picture(image)
    half = (max(1, picture.width // 2), max(1, picture.height // 2))
    small = picture.resize(half, Resampling.BILINEAR)  # averages over what it shrinks
    return from_picture(small.resize(picture.size, Resampling.BILINEAR))


class Median(Countermeasure):
    """Each pixel becomes the median of the 3 x 3 around it, each channel for itself.

    Median smoothing: W. Xu, D. Evans, Y. Qi. *Feature squeezing: detecting adversarial examples in
    deep neural networks.* NDSS 2018, arXiv:1704.01155.
    """

    name = "median"

    def treat(self, images: Images) -> Images:
        """Return the images filtered."""
        from scipy.ndimage import median_filter

        filtered: Images = np.stack([median_filter(image, (3, 3, 1)) for image in images])
        return filtered


class Bilateral(Countermeasure):
    """A blur over pixels of like value: noise is smoothed, edges stay.

    C. Tomasi, R. Manduchi. *Bilateral filtering for gray and color images.* ICCV 1998.

    Parameters
    ----------
    sigma_value : float
        How far values may differ and still be averaged, of 255; between one and two
        times the standard strength.
    sigma_space : float
        Of the blur, in pixels.
    """

    name = "bilateral"

    def __init__(self, sigma_value: float = 12.0, sigma_space: float = 1.5) -> None:
        self.sigma_value = sigma_value
        self.sigma_space = sigma_space

    def treat(self, images: Images) -> Images:
        """Return the images filtered, the channels together."""
        return np.stack([self._filter(image) for image in images])

    def _filter(self, image: Images) -> Images:
        from skimage.restoration import denoise_bilateral

        if image.min() == image.max():
            return image  # scikit-image takes a flat image's range for its scale, and divides by it
        grey = image.shape[2] == 1
        # Its distance of two colours is the Euclidean one over the number of channels.
        sigma = self.sigma_value / 255 / math.sqrt(image.shape[2])
        filtered = denoise_bilateral(
            image[..., 0] / 255 if grey else image / 255,
            sigma_color=sigma,
            sigma_spatial=self.sigma_space,
            mode="edge",
            channel_axis=None if grey else 2,
        )
        rounded: Images = (255 * filtered).round().astype(np.uint8).reshape(image.shape)
        return rounded


class NonLocalMeans(Countermeasure):
    """Each pixel becomes the average of those nearby whose surroundings look like its own.

    A. Buades, B. Coll, J.-M. Morel. *A non-local algorithm for image denoising.* CVPR 2005.

    Parameters
    ----------
    noise_lsb : float
        Standard deviation of the noise to remove, of 255; that of the standard strength.
    """

    name = "non-local-means"

    def __init__(self, noise_lsb: float = 8.0) -> None:
        self.noise_lsb = noise_lsb

    def treat(self, images: Images) -> Images:
        """Return the images filtered, the channels together."""
        return np.stack([self._filter(image) for image in images])

    def _filter(self, image: Images) -> Images:
        from skimage.restoration import denoise_nl_means

        sigma = self.noise_lsb / 255
        grey = image.shape[2] == 1
        filtered = denoise_nl_means(
            image[..., 0] / 255 if grey else image / 255,
            patch_size=5,
            patch_distance=6,
            h=0.8 * sigma,  # scikit-image's advice for the fast mode
            sigma=sigma,
            fast_mode=True,
            channel_axis=None if grey else 2,
        )
        rounded: Images = (
            (255 * filtered).clip(0, 255).round().astype(np.uint8).reshape(image.shape)
        )
        return rounded


class Window(Countermeasure):
    """Each training image is shown with another contrast, brightness and gamma.

    As radiologists' windows differ (DICOM PS3.3 C.11.2); contrast and brightness are among the
    usual augmentations, see E. D. Cubuk et al. *AutoAugment: learning augmentation policies from
    data.* CVPR 2019, arXiv:1805.09501. Used are images as they come: the window is known then.

    Parameters
    ----------
    contrast, gamma : float
        Largest factor; the least is 1 by it.
    brightness : float
        Largest shift either way, of the presented range.
    """

    name = "window"

    def __init__(self, contrast: float = 1.4, gamma: float = 1.4, brightness: float = 0.1) -> None:
        self.contrast = contrast
        self.gamma = gamma
        self.brightness = brightness
        self._seed = 0

    def prepare(self, train: Labelled, aid: Aid, seed: int) -> None:
        """Take the seed."""
        self._seed = seed

    def treat(self, images: Images) -> Images:
        """Return the images, each with settings of its own."""
        rng = np.random.default_rng(self._seed)
        return np.stack([self._show(image, rng) for image in images])

    def treat_tested(self, images: Images) -> Images:
        """Return the images as they are."""
        return images

    def _show(self, image: Images, rng: np.random.Generator) -> Images:
        contrast = self.contrast ** rng.uniform(-1, 1)
        gamma = self.gamma ** rng.uniform(-1, 1)
        brightness = self.brightness * rng.uniform(-1, 1)
        shown = ((image / 255 - 0.5) * contrast + 0.5 + brightness).clip(0, 1)
        rounded: Images = (255 * shown**gamma).round().astype(np.uint8)
        return rounded


def to_picture(image: Images) -> Picture.Image:
    """Return a Pillow image of one image (H, W, C), C 1 or 3."""
    return Picture.fromarray(image[..., 0] if image.shape[2] == 1 else image)


def from_picture(picture: Picture.Image) -> Images:
    """Return (H, W, C), C 1 or 3."""
    image = np.asarray(picture)
    return image[..., None] if image.ndim == 2 else image


MIDDLE, SPREAD = 127.5, 45.0
"""Mean and standard deviation of every channel afterwards, of 255."""


class Normalise(Countermeasure):
    """Each channel of each image gets the same mean and spread, in training and in use.

    A shift of brightness or colour then tells nothing. One of the adaptive defences of X. Wang et
    al. *Dual-branch robust unlearnable examples* (DUNE). ICML 2026, arXiv:2605.01718.
    """

    name = "normalise"

    def treat(self, images: Images) -> Images:
        """Return the images normalised; what is beyond 0..255 is cut off."""
        values = images.astype(np.float32)
        values -= values.mean((1, 2), keepdims=True)
        spread = values.std((1, 2), keepdims=True)
        scaled = MIDDLE + SPREAD * values / np.maximum(spread, 1e-3)
        normalised: Images = scaled.round().clip(0, 255).astype(np.uint8)
        return normalised


DARKEST = 32
"""Brightest that a background is, of 255: air in CT and MR, what a collimator covers."""

SMALLEST_BODY = 0.1
"""Of the image: what is smaller is no body, and the image stays as it is."""


class Background(Countermeasure):
    """What lies outside the body is set to black, in training and in use.

    Noise in air is noise that no anatomy hides, and an attacker can cut it off without losing any.
    The body is the largest part of the blurred image above the threshold of N. Otsu (*A threshold
    selection method from gray-level histograms.* IEEE Transactions on Systems, Man, and Cybernetics
    1979), or above near-black where that threshold parts dark tissue from bright, with its holes
    filled. An image without a dark background stays as it is.

    Parameters
    ----------
    sigma : float
        Of the blur, in pixels.
    """

    name = "background"

    def __init__(self, sigma: float = 1.0) -> None:
        self.sigma = sigma

    def treat(self, images: Images) -> Images:
        """Return the images with black backgrounds."""
        return np.stack([self._blacken(image) for image in images])

    def _blacken(self, image: Images) -> Images:
        outside = find_background(image, self.sigma)
        return np.where(outside[..., None], np.uint8(0), image)


def find_background(image: Images, sigma: float = 1.0) -> NDArray[np.bool_]:
    """Return where the background of one image (H, W, C) is: (H, W), nowhere if it has none."""
    from scipy.ndimage import binary_fill_holes, gaussian_filter, label
    from skimage.filters import threshold_otsu

    nowhere = np.zeros(image.shape[:2], bool)
    smooth = gaussian_filter(image.mean(2, dtype=np.float32), sigma)
    if np.ptp(smooth) < 1:
        return nowhere
    parts, count = label(smooth > min(threshold_otsu(smooth), DARKEST))
    if not count:
        return nowhere
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    outside: NDArray[np.bool_] = ~binary_fill_holes(parts == 1 + sizes.argmax())
    body = 1 - outside.mean()
    return nowhere if body < SMALLEST_BODY else outside
