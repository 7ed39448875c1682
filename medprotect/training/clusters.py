"""Codes without labels: clusters of what a network, trained on the images alone, sees in them.

Labels that somebody adds later go along with such clusters, whatever they name: what is alike is
mostly called alike (Unlearnable Clusters: J. Zhang et al., CVPR 2023).
"""

import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from medprotect.confounder.networks import Assigner, channels_last
from medprotect.errors import ConfigError
from medprotect.training.assigning import Progress, set_rate
from medprotect.training.checkpoint import Checkpoint
from medprotect.training.ranks import (
    average_gradients,
    average_statistics,
    check_agreement,
    rank,
)
from medprotect.training.samples import step_rng

CLUSTERS = 16
"""Number of clusters, unless asked otherwise."""

STEPS, BATCH = 600, 96

WIDTH = 64
"""Features that clusters are sought among."""

TEMPERATURE = 0.2
"""Of the contrast: how much the nearest of the other images weigh."""

_RATE = 3e-3
_SMALLEST_VIEW, _LARGEST_STRETCH = 0.6, 1.25
_CONTRAST, _BRIGHTNESS = 0.3, 0.1


def find_clusters(
    presented: Tensor,
    count: int,
    *,
    seed: int,
    mirrored: bool,
    steps: int = STEPS,
    folder: Path | None = None,
    progress: Progress,
) -> Tensor:
    """Return the cluster (N,) of each image, 0 to `count` - 1, none of them empty.

    The network learns to tell two views of one image from views of all others (SimCLR: T. Chen et
    al., ICML 2020); k-means of its features, each of length 1, gives the clusters.

    Parameters
    ----------
    presented : Tensor
        float32 (N, C, h, w), 0..1.
    count : int
        Of clusters, at least 2.
    mirrored : bool
        Whether a mirrored image is as good a view.
    folder, progress
        See `medprotect.training.gan.train`.

    Raises
    ------
    ConfigError
        There are too few images, or too few that differ.
    """
    if not 2 <= count <= len(presented) // 2:
        raise ConfigError(f"{len(presented)} images are too few for {count} clusters.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = channels_last(Assigner(presented.shape[1], WIDTH, 16))
    modules = nn.ModuleDict({"network": network})
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=1e-4)
    seen = hashlib.sha256(presented.contiguous().numpy().data).hexdigest()
    checkpoint = Checkpoint(folder, "clusters", {"images": seen, "seed": seed, "steps": steps})
    network.train()
    done, _ = checkpoint.load(modules, [optimizer])
    check_agreement(done)
    for step in range(done, steps):
        rng = step_rng(seed, "clusters", step, rank())
        indices = torch.randperm(len(presented), generator=rng)[:BATCH]
        images = presented[indices]
        views = torch.cat([_view(images, mirrored, rng), _view(images, mirrored, rng)])
        set_rate(optimizer, _RATE, step, steps)
        loss = contrastive_loss(network(views.contiguous(memory_format=torch.channels_last)))
        optimizer.zero_grad()
        loss.backward()
        average_gradients(network.parameters())
        optimizer.step()
        if checkpoint.is_due() or step + 1 == steps:
            average_statistics(network)
            checkpoint.save(step + 1, modules, [optimizer], {})
        progress("clusters", step + 1, steps, {"loss": loss.item()})
    return torch.from_numpy(_k_means(_features(network, presented), count, seed))


def contrastive_loss(features: Tensor) -> Tensor:
    """Low where each view is nearer to the other of its image than to those of all others.

    NT-Xent, equation 1 of Chen et al.

    Parameters
    ----------
    features : Tensor
        (2B, D): B views, then a second one of each image in the same order.
    """
    unit = functional.normalize(features, dim=1)
    likeness = unit @ unit.T / TEMPERATURE
    likeness.fill_diagonal_(-torch.inf)
    partner = torch.arange(len(unit)).roll(len(unit) // 2)
    return functional.cross_entropy(likeness, partner)


def _view(images: Tensor, mirrored: bool, rng: torch.Generator) -> Tensor:
    """Cut out, stretch, turn over and recolour each image in its own way."""
    count, channels = images.shape[:2]

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand((count, *shape), generator=rng)

    share = uniform(_SMALLEST_VIEW, 1)
    stretch = uniform(1 / _LARGEST_STRETCH, _LARGEST_STRETCH)
    place = torch.zeros((count, 2, 3))
    place[:, 0, 0], place[:, 1, 1] = (share * stretch).clamp(max=1), (share / stretch).clamp(max=1)
    for axis in range(2):
        free = 1 - place[:, axis, axis]
        place[:, axis, 2] = free * uniform(-1, 1)
        if mirrored:
            place[:, axis, axis] *= uniform(-1, 1).sign()
    grid = functional.affine_grid(place, list(images.shape), align_corners=False)
    seen = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    contrast = uniform(1 - _CONTRAST, 1 + _CONTRAST, 1, 1, 1)
    brightness = uniform(-_BRIGHTNESS, _BRIGHTNESS, channels, 1, 1)
    return ((seen - 0.5) * contrast + 0.5 + brightness).clamp(0, 1)


@torch.no_grad()
def _features(network: nn.Module, presented: Tensor) -> NDArray[np.float64]:
    network.eval()
    parts = [functional.normalize(network(part), dim=1) for part in presented.split(256)]
    features: NDArray[np.float64] = torch.cat(parts).double().numpy()
    return features


def _k_means(features: NDArray[np.float64], count: int, seed: int) -> NDArray[np.int64]:
    """Return the clusters of the best of several k-means, the largest first."""
    from scipy.cluster.vq import kmeans2

    best: tuple[float, NDArray[np.int64]] | None = None
    if len(np.unique(features.round(6), axis=0)) < count:
        raise ConfigError(f"The images do not differ enough for {count} clusters.")
    draw = np.random.default_rng(seed)
    for _ in range(8):
        centres, found = kmeans2(features, count, minit="++", rng=draw, missing="warn")
        spread = float(((features - centres[found]) ** 2).sum())
        if len(np.unique(found)) == count and (best is None or spread < best[0]):
            best = spread, found.astype(np.int64)
    if best is None:
        raise ConfigError(f"The images do not differ enough for {count} clusters.")
    sizes = np.bincount(best[1], minlength=count)
    order = np.argsort(-sizes, kind="stable")
    return np.argsort(order)[best[1]].astype(np.int64)
