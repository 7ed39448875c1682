"""Training of classifiers on clean images: the assigner, and those that decoys mislead."""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from medprotect.confounder.accuracy import balanced_accuracy
from medprotect.training.checkpoint import Checkpoint, state_sha256
from medprotect.training.distortions import blur, flip, shift, window
from medprotect.training.ranks import (
    average_gradients,
    average_statistics,
    check_agreement,
    rank,
)
from medprotect.training.samples import Samples, hold_out, step_rng

Progress = Callable[[str, int, int, dict[str, float]], None]
"""``progress(stage, step, steps, figures)``, called after each step, and each image read."""

HELD_OUT = 0.1
"""Share of the images on which the assigner is calibrated, not trained."""


def split_held_out(samples: Samples, seed: int) -> tuple[Samples, Samples]:
    """Return what to train on, and what to calibrate on: at least one image each."""
    held = min(max(1, round(HELD_OUT * len(samples))), len(samples) - 1)
    return hold_out(samples, held, step_rng(seed, "split", 0))


def train_classifier(
    network: nn.Module,
    samples: Samples,
    *,
    stage: str,
    steps: int,
    batch: int,
    seed: int,
    mirrored: bool,
    folder: Path | None,
    progress: Progress,
) -> None:
    """Train a classifier in place, with shifts, windows, blur and, where asked for, mirroring.

    Parameters
    ----------
    network : Module
        Images (B, C, h, w) to logits (B, K).
    samples : Samples
        Clean images and labels.
    stage : str
        Name for progress and checkpoints.
    mirrored : bool
        Whether a mirrored image is as good an image; not so where left and right matter.
    """
    modules = nn.ModuleDict({"network": network})
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=5e-3)
    settings = {"samples": samples.sha256, "steps": steps, "batch": batch, "seed": seed}
    checkpoint = Checkpoint(folder, stage, {**settings, "begun": state_sha256(network)})
    network.train()
    done, _ = checkpoint.load(modules, [optimizer])
    check_agreement(done)
    for step in range(done, steps):
        rng = step_rng(seed, stage, step, rank())
        indices = torch.randint(len(samples), (batch,), generator=rng)
        images = samples.presented[indices]
        images = _vary(images, mirrored, rng)
        images = images.contiguous(memory_format=torch.channels_last)
        set_rate(optimizer, 3e-3, step, steps)
        loss = functional.cross_entropy(
            network(images), samples.labels[indices], label_smoothing=0.02
        )
        optimizer.zero_grad()
        loss.backward()
        average_gradients(network.parameters())
        optimizer.step()
        if checkpoint.is_due() or step + 1 == steps:
            average_statistics(network)
            checkpoint.save(step + 1, modules, [optimizer], {})
        progress(stage, step + 1, steps, {"loss": loss.item()})
    network.eval()


def set_rate(optimizer: torch.optim.Optimizer, peak: float, step: int, steps: int) -> None:
    """Set the learning rate: up over the first tenth, then down along a cosine."""
    rise = max(1, steps // 10)
    fall = (step - rise) / max(1, steps - rise)
    rate = peak * ((step + 1) / rise if step < rise else 0.5 * (1 + math.cos(math.pi * fall)))
    for group in optimizer.param_groups:
        group["lr"] = max(rate, peak * 1e-3)


@torch.no_grad()
def calibrate(network: nn.Module, held_out: Samples) -> tuple[float, float]:
    """Return the temperature of least negative log-likelihood, and the balanced accuracy.

    Temperature scaling: Guo et al., ICML 2017.
    """
    logits = logits_of(network, held_out.presented)
    temperatures = [2 ** (power / 8) for power in range(-16, 25)]
    losses = [float(functional.cross_entropy(logits / t, held_out.labels)) for t in temperatures]
    told, labels = logits.argmax(1).numpy(), held_out.labels.numpy()
    accuracy = balanced_accuracy(told, labels, len(held_out.classes))
    return temperatures[losses.index(min(losses))], accuracy


@torch.no_grad()
def logits_of(network: nn.Module, presented: Tensor, batch: int = 256) -> Tensor:
    """Return the logits (N, K) of all images."""
    network.eval()
    return torch.cat([network(part) for part in presented.split(batch)])


def _vary(images: Tensor, mirrored: bool, rng: torch.Generator) -> Tensor:
    images = shift(images, rng)
    if mirrored:
        images = flip(images, rng)
        images = images.flip(-2) if float(torch.rand((), generator=rng)) < 0.5 else images
    chance = float(torch.rand((), generator=rng))
    if chance < 0.15:
        return window(images, rng)
    return blur(images, rng) if chance < 0.25 else images
