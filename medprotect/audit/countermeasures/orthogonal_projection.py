"""Orthogonal projection."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from medprotect.audit.countermeasures.countermeasure import Aid, Countermeasure, Images
from medprotect.audit.countermeasures.tensors import to_images, to_tensor
from medprotect.audit.halves import Labelled

BATCH = 256


class OrthogonalProjection(Countermeasure):
    """What a linear model reads the labels from is projected out.

    P. Sandoval-Segura, V. Singla, J. Geiping, M. Goldblum, T. Goldstein. *What can we learn from
    unlearnable datasets?* NeurIPS 2023, arXiv:2305.19254: logistic regression on the pixels of the
    protected images, then each image without its part along the weights.

    Here the part is that of the difference from the mean image, so that the result fits 8 bits; it
    differs from theirs by one constant image.

    Parameters
    ----------
    steps : int
        Batches that the logistic regression learns from.
    rate : float
        Of its learning (Adam).
    """

    name = "orthogonal-projection"

    _mean: Tensor
    _directions: Tensor  # (R, H * W * C), orthonormal rows

    def __init__(self, steps: int = 500, rate: float = 1e-3) -> None:
        self.steps = steps
        self.rate = rate

    def prepare(self, train: Labelled, aid: Aid, seed: int) -> None:
        """Fit the logistic regression."""
        pixels = to_tensor(train.images).flatten(1)
        self._mean = pixels.mean(0)
        weights = self._fit(pixels - self._mean, torch.from_numpy(train.labels), seed)
        _, sizes, directions = torch.linalg.svd(weights, full_matrices=False)
        # The weights of all classes sum to zero: one direction less than classes means anything.
        self._directions = directions[sizes > 1e-3 * sizes[0]]

    def treat(self, images: Images) -> Images:
        """Return the images without their part along the weights."""
        tensors = to_tensor(images)
        parts = []
        for part in tensors.split(BATCH):
            pixels = part.flatten(1)
            along = (pixels - self._mean) @ self._directions.T @ self._directions
            parts.append(to_images((pixels - along).reshape(part.shape)))
        return np.concatenate(parts)

    def _fit(self, pixels: Tensor, labels: Tensor, seed: int) -> Tensor:
        """Return the weights (K, D) of a logistic regression that started from zero."""
        rng = torch.Generator().manual_seed(seed)
        classes = int(labels.max()) + 1
        weights = torch.zeros(classes, pixels.shape[1], requires_grad=True)
        bias = torch.zeros(classes, requires_grad=True)
        optimizer = torch.optim.Adam([weights, bias], self.rate)
        for _ in range(self.steps):
            at = torch.randint(len(pixels), (BATCH,), generator=rng)
            logits = functional.linear(pixels[at], weights, bias)
            loss: Any = functional.cross_entropy(logits, labels[at])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return weights.detach()
