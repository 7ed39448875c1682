"""Classes where there are none: ``python -m tests.audit.clustered SOURCE CLASS OUT.npz``.

Clusters are found among all images of one class of a data set, and a MedMNIST file is written in
which they are the labels; half A and half B stay what they are. So P can be measured of a pipeline
whose images all have one label, against kinds that another search found than its own.

    python -m tests.audit.clustered MedNIST BreastMRI mr.npz
    python -m medprotect.audit.unlearnability --images mr.npz --pipeline mr
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from medprotect.audit.halves import Labelled, read_halves
from medprotect.confounder.clusters import find_clusters

SEED = 11
"""Not one that pipelines are trained with."""


def find_kinds(parts: list[Labelled], kinds: int, steps: int) -> list[np.ndarray]:
    """Return the kind (N,) of each image of each part."""
    images = np.concatenate([part.images for part in parts])
    presented = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    found = find_clusters(
        presented.contiguous(), kinds, seed=SEED, mirrored=False, steps=steps, progress=_say
    )
    ends = np.cumsum([len(part) for part in parts])[:-1]
    return np.split(found.numpy().astype(np.uint8), ends)


def _say(stage: str, step: int, steps: int, figures: dict[str, float]) -> None:
    print(stage, f"{step}/{steps}", figures, file=sys.stderr, flush=True)


def interleave(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return both in turn, as `read_halves` parts them again."""
    count = min(len(a), len(b))
    return np.stack([a[:count], b[:count]], axis=1).reshape(-1, *a.shape[1:])


def lay_out(source: Path, name: str, out: Path, kinds: int, steps: int) -> None:
    """Write the file."""
    halves = read_halves(source)
    label = halves.classes.index(name)
    parts = [
        Labelled(part.images[part.labels == label], part.labels[part.labels == label])
        for part in (halves.a, halves.b, halves.validation, halves.test)
    ]
    a, b, validation, test = find_kinds(parts, kinds, steps)
    np.savez_compressed(
        out,
        train_images=interleave(parts[0].images, parts[1].images)[..., 0],
        train_labels=interleave(a, b)[:, None],
        val_images=parts[2].images[..., 0],
        val_labels=validation[:, None],
        test_images=parts[3].images[..., 0],
        test_labels=test[:, None],
    )
    print("of each kind in half B:", np.bincount(b, minlength=kinds).tolist())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("name")
    parser.add_argument("out", type=Path)
    parser.add_argument("--kinds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=300)
    given = parser.parse_args()
    lay_out(given.source, given.name, given.out, given.kinds, given.steps)
