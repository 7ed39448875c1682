"""Projected gradient descent on the noise itself, and what it goes with."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from medprotect.bench.protection.baselines.baseline import Images

BATCH = 128


def to_presented(images: Images) -> Tensor:
    """Return (N, C, H, W) float32 in 0..1 from (N, H, W, C)."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


def batches(count: int, batch: int = BATCH) -> Iterator[Tensor]:
    """Yield indices of batches, one shuffled pass after the other, without end."""
    while True:
        yield from torch.randperm(count).split(batch)


def descend(
    read: Callable[[Tensor], Tensor],
    images: Tensor,
    noise: Tensor,
    targets: Tensor,
    *,
    bound: float,
    steps: int,
) -> Tensor:
    """Return noise (N, C, h, w) that makes a network see the targets.

    Each step goes a tenth of the bound along the sign of the gradient (Madry et al., ICLR 2018),
    and back into the bound and the range of the images.

    Parameters
    ----------
    read : callable
        Images (B, C, h, w) in 0..1 to logits (B, K).
    images, noise : Tensor
        (N, C, h, w), images in 0..1, and noise to start from in the same unit.
    targets : Tensor
        int64 (N,).
    bound : float
        Largest absolute noise, in the same unit.
    """
    descended = []
    parts = zip(images.split(BATCH), noise.split(BATCH), targets.split(BATCH), strict=True)
    for clean, added, wanted in parts:
        low, high = (-clean).clamp(min=-bound), (1 - clean).clamp(max=bound)
        for _ in range(steps):
            added = added.detach().requires_grad_()
            loss = functional.cross_entropy(read(clean + added), wanted)
            (gradient,) = torch.autograd.grad(loss, added)
            added = torch.clamp(added - bound / 10 * gradient.sign(), low, high)
        descended.append(added.detach())
    return torch.cat(descended)
