"""Images to train on, in memory: presented values, budget, labels."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from medprotect.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Samples:
    """A training set on one grid.

    Attributes
    ----------
    presented : Tensor
        float32 (N, C, h, w), 0..1.
    budget : Tensor
        float32 (N, 1, h, w) or (N, 1, 1, 1), bound on the noise at the strength that is
        trained for, in presented values.
    labels : Tensor
        int64 (N,), 0 .. number of classes - 1.
    classes : tuple of str
        Their names.
    groups : Tensor, optional
        int64 (N,), the patient, or the set of near-duplicates, that each image is of, where known.
    """

    presented: Tensor
    budget: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    groups: Tensor | None = None

    def __post_init__(self) -> None:
        count = len(self.labels)
        if count == 0 or len(self.presented) != count or len(self.budget) != count:
            raise ConfigError("There must be as many images and budgets as labels, and some.")
        seen = set(self.labels.unique().tolist())
        if len(self.classes) < 2 or not seen <= set(range(len(self.classes))):
            raise ConfigError("Labels must be of two or more classes; check the labels file.")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def channels(self) -> int:
        """C."""
        return int(self.presented.shape[1])

    @property
    def size(self) -> int:
        """Pixels of the long side."""
        return int(max(self.presented.shape[-2:]))

    @property
    def sha256(self) -> str:
        """Hash in hex of all values: tells training sets apart."""
        digest = hashlib.sha256()
        known = () if self.groups is None else (self.groups,)
        for tensor in (self.presented, self.budget, self.labels, *known):
            digest.update(str(tuple(tensor.shape)).encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def take(self, indices: Tensor) -> "Samples":
        """Return the samples at the indices."""
        return Samples(
            self.presented[indices],
            self.budget[indices],
            self.labels[indices],
            self.classes,
            None if self.groups is None else self.groups[indices],
        )


def hold_out(samples: Samples, count: int, rng: torch.Generator) -> tuple[Samples, Samples]:
    """Return what to learn from, and so many images that are held out, both in random order.

    No group is in both, where groups are known: then fewer may be held out, or one group that is
    larger, and each class keeps images to learn from.

    Raises
    ------
    ConfigError
        No group can be held out: each class has but one.
    """
    order = torch.randperm(len(samples), generator=rng)
    held = torch.zeros(len(samples), dtype=torch.bool)
    if samples.groups is None:
        held[order[:count]] = True
    else:
        held = _draw_groups(samples.groups, samples.labels, count, rng)
    return samples.take(order[~held[order]]), samples.take(order[held[order]])


def _draw_groups(groups: Tensor, labels: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Return whether each image (N,) is of the groups that were drawn, of so many images at most.

    Where no group is so small, it is the smallest.
    """
    names, of = groups.unique(return_inverse=True)
    members = torch.zeros(len(names), int(labels.max()) + 1, dtype=torch.int64)
    members.index_put_((of, labels), torch.tensor(1), accumulate=True)
    left = members.sum(0)
    sizes = members.sum(1).tolist()
    order = torch.randperm(len(names), generator=rng).tolist()
    drawn: list[int] = []

    def spares_classes(group: int) -> bool:
        return bool((left - members[group])[members[group] > 0].all())

    for group in order:
        if sizes[group] <= count and spares_classes(group):
            drawn.append(group)
            count -= sizes[group]
            left = left - members[group]
    if not drawn:
        drawn = sorted(filter(spares_classes, order), key=sizes.__getitem__)[:1]
    if not drawn:
        raise ConfigError(
            "Each class is of one group, and training holds groups out to test itself: name "
            "smaller groups, or leave the column out of the table."
        )
    return torch.isin(of, torch.tensor(drawn))


def step_rng(seed: int, stage: str, step: int, rank: int = 0) -> torch.Generator:
    """Return the randomness of one step, so that a resumed training repeats an unbroken one."""
    own = f" {rank}" if rank else ""  # rank 0 draws what one process alone does
    digest = hashlib.sha256(f"{seed} {stage} {step}{own}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def draw_batch(samples: Samples, batch: int, rng: torch.Generator) -> tuple[Tensor, ...]:
    """Draw (presented, budget, labels) of a batch, every eighth one magnified."""
    indices = torch.randint(len(samples), (batch,), generator=rng)
    presented = samples.presented[indices].contiguous(memory_format=torch.channels_last)
    budget = samples.budget[indices]
    if float(torch.rand((), generator=rng)) < 0.125:
        presented, budget = _magnify(presented, budget, rng)
    return presented, budget, samples.labels[indices]


def _magnify(presented: Tensor, budget: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Enlarge a part: the canonical grid is finer than the training grid."""
    height, width = presented.shape[-2:]
    share = 0.5 + 0.5 * float(torch.rand((), generator=rng))
    rows, columns = max(4, round(height * share)), max(4, round(width * share))
    top = int(torch.randint(height - rows + 1, (1,), generator=rng))
    left = int(torch.randint(width - columns + 1, (1,), generator=rng))

    def enlarge(plane: Tensor) -> Tensor:
        if plane.shape[-1] == 1:
            return plane
        part = plane[..., top : top + rows, left : left + columns]
        return functional.interpolate(part, (height, width), mode="bilinear", align_corners=False)

    return enlarge(presented), enlarge(budget)
