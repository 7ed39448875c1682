"""Small labelled images whose classes a small network can tell, and how such a network fares."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import nn

from medprotect.audit.halves import Labelled
from medprotect.bench.protection.baselines.descent import batches, to_presented
from medprotect.confounder.networks import ConfounderClassifier

CLASSES = 3


def draw(
    count: int, channels: int, seed: int, side: tuple[int, int] = (12, 12), contrast: float = 6
) -> Labelled:
    """Return grainy, shaded images; the class is which way the faint stripes in them run.

    Of the usual contrast clean images teach it, and a victim of noise that tells it does not come
    to see it; of twice as much, every victim does that is not misled.
    """
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % CLASSES)
    rows, columns = np.indices(side)
    ways = 2 * np.pi / 5 * np.stack([columns, rows, rows + columns])
    stripes = np.sin(ways[labels] + rng.uniform(0, 2 * np.pi, (count, 1, 1)))
    grain, shade = rng.standard_normal((2, count, *side))
    images = 128 + contrast * stripes + 8 * grain + 60 * gaussian_filter(shade, (0, 2, 2))
    stored = np.rint(images).clip(0, 255).astype(np.uint8)
    return Labelled(stored[..., None].repeat(channels, -1), labels)


def change(clean: NDArray[np.uint8], noisy: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Return the noise, in stored values."""
    return noisy.astype(np.int16) - clean


def fit(train: Labelled, seed: int = 7, steps: int = 180) -> nn.Module:
    """Return a small network trained on these images."""
    images, labels = to_presented(train.images), torch.from_numpy(train.labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ConfounderClassifier(images.shape[1], CLASSES, 8)
        optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
        for _, at in zip(range(steps), batches(len(images), 16), strict=False):
            loss = nn.functional.cross_entropy(network(images[at]), labels[at])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
    return network.eval()


@torch.inference_mode()
def accuracy(network: nn.Module, images: torch.Tensor, labels: NDArray[np.int64]) -> float:
    return float((network(images).argmax(1) == torch.tensor(labels)).float().mean())


def clean_accuracy(train: Labelled, contrast: float = 6) -> float:
    """Return the accuracy on unseen clean images of a small victim trained on these."""
    unseen = draw(300, train.images.shape[3], seed=99, contrast=contrast)
    return accuracy(fit(train), to_presented(unseen.images), unseen.labels)


def linear_accuracy(noise: NDArray[np.int16], labels: NDArray[np.int64]) -> float:
    """Return how well a logistic regression, fitted on one half of the noise, reads the other."""
    features = torch.from_numpy(noise.reshape(len(noise), -1).astype(np.float32) / 8)
    classes = torch.from_numpy(labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = nn.Linear(features.shape[1], CLASSES)
    optimizer = torch.optim.Adam(model.parameters(), 0.01, weight_decay=1e-2)
    for _ in range(100):
        loss = nn.functional.cross_entropy(model(features[::2]), classes[::2])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float((model(features[1::2]).argmax(1) == classes[1::2]).float().mean())
