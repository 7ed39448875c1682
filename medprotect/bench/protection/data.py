"""What the bench compares protections on: half B of a data set, and its clean tests."""

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from medprotect.audit.attack.countermeasure import Aid
from medprotect.audit.halves import Labelled, draw, read_halves
from medprotect.bench.protection.record import DataSettings
from medprotect.bench.studies.medmnist import name_classes, read_card
from medprotect.bench.studies.unlearnability import leave_out_rejected
from medprotect.confounder.labels import TABLE
from medprotect.confounder.noise import shrink
from medprotect.errors import ConfigError

_BATCH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchData:
    """Labelled images of one size.

    Attributes
    ----------
    dataset : str
        The name of its card.
    train : Labelled
        What is protected, and what victims learn from: half B, or a part of it.
    validation, test : Labelled
        Clean images.
    aid : Aid
        What an attacker may have besides: half A, clean and without labels.
    classes : tuple of str
        Their names.
    """

    dataset: str
    train: Labelled
    validation: Labelled
    test: Labelled
    aid: Aid
    classes: tuple[str, ...]

    def settings(self) -> DataSettings:
        """Return by what these images are known: runs on others are not compared with theirs."""
        digest = hashlib.sha256()
        for part in (self.train, self.validation, self.test):
            digest.update(f"{part.images.shape}".encode())
            digest.update(np.ascontiguousarray(part.images).data)
            digest.update(np.ascontiguousarray(part.labels).data)
        return {
            "dataset": self.dataset,
            "sha256": digest.hexdigest(),
            "train": len(self.train),
            "image_size": list(self.train.images.shape[1:]),
        }


def read_bench_data(
    dataset: str,
    images: Path,
    *,
    size: int,
    strength: str = "standard",
    train: int | None = None,
    test: int | None = None,
) -> BenchData:
    """Read the images of a data set that has a card.

    Parameters
    ----------
    dataset : str
        The name of the card.
    images : Path
        As `medprotect.audit.halves.read_halves` takes them.
    size : int
        Pixels of the long side at most: larger images are brought to it, all of them.
    strength : str
        Training images that a run would reject at it are left out, of all protections.
    train, test : int, optional
        Images at most, of half B, and of the validation and the test set each: drawn at random,
        always the same.

    Raises
    ------
    ConfigError
        There is no such card, the images are not of its classes, or there are too few.
    """
    card = read_card(dataset)
    # Of a split table the pictures may be of several sizes; brought to one as they are read.
    halves = read_halves(images, size if (images / TABLE).is_file() else None)
    classes = name_classes(card, halves.classes)
    parts = {
        "other": halves.a,
        "train": draw(halves.b, train),
        "validation": draw(halves.validation, test),
        "test": draw(halves.test, test),
    }
    small = {name: _resize(part, size) for name, part in parts.items()}
    small["train"] = leave_out_rejected(small["train"], strength)
    aid = Aid(other=small.pop("other").images)
    for part in small.values():
        if len(np.unique(part.labels)) < len(classes):
            raise ConfigError("Not every class is in every part; take more images.")
    return BenchData(dataset=dataset, classes=classes, aid=aid, **small)


def describe_data(dataset: str) -> tuple[str, str]:
    """Return name and origin of a data set, as its card has them."""
    card = tomllib.loads(read_card(dataset))
    return card["name"], f"{card['title']}. Licence: {card['licence']}. By {card['attribution']}."


def _resize(part: Labelled, size: int) -> Labelled:
    if max(part.images.shape[1:3]) <= size:
        return part
    presented = torch.from_numpy(part.images).permute(0, 3, 1, 2)
    small = torch.cat([shrink(each.float(), size) for each in presented.split(_BATCH)])
    images = small.clamp(0, 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    return Labelled(images, part.labels, part.groups)
