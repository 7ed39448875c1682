"""Non-local means."""

import numpy as np

from medprotect.audit.countermeasures.countermeasure import Countermeasure, Images


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
