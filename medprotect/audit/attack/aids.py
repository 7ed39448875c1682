"""What an attacker may have besides the protected images, as an audit is given it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from medprotect.audit.attack.countermeasure import Aid, to_images
from medprotect.audit.pairs import Images, Pairs
from medprotect.errors import ConfigError, InputError
from medprotect.imaging import formats
from medprotect.imaging.pairs import read_content
from medprotect.intensity.windows import present, view

OTHER, LEAKED = "clean images of another source (--other)", "leaked pairs (--leaked)"

AIDED = {"autoencoder": OTHER, "diffusion": OTHER, "inverse": LEAKED}
"""Countermeasures for which the protected images do not suffice, and what they need."""


def allowed_by(aid: Aid) -> tuple[str, ...]:
    """Return the countermeasures that need what the attacker has."""
    has = {OTHER: aid.other is not None, LEAKED: aid.leaked_clean is not None}
    return tuple(name for name, need in AIDED.items() if has[need])


def used_by(countermeasure: str, aid: Aid) -> list[Images]:
    """Return what a countermeasure uses of what the attacker has."""
    need = AIDED.get(countermeasure)
    given = {OTHER: [aid.other], LEAKED: [aid.leaked_clean, aid.leaked_protected]}
    return [images for images in given.get(need or "", []) if images is not None]


def give_aids(
    pairs: Pairs, other: Path | None, leaked: int, *, per_class: bool = False
) -> tuple[Pairs, Aid]:
    """Return what is left to learn from, and what the attacker has besides.

    Parameters
    ----------
    other : Path, optional
        A folder of clean images of another source; see `read_other`.
    leaked : int
        Number of leaked pairs; see `leak`.
    per_class : bool
        Whether that is the number of each class.

    Raises
    ------
    ConfigError
        The one or the other cannot be had.
    """
    aid = Aid()
    if leaked:
        pairs, aid = leak(pairs, leaked, per_class=per_class)
    if other:
        aid = replace(aid, other=read_other(other, pairs.protected))
    return pairs, aid


def leak(pairs: Pairs, count: int, seed: int = 1, *, per_class: bool = False) -> tuple[Pairs, Aid]:
    """Give the attacker pairs, drawn from those for training; victims learn from the others alone.

    Parameters
    ----------
    count : int
        Of all pairs, or of each class: five of each were enough for BridgePure against LSP on
        CIFAR-100 (NeurIPS 2025).
    per_class : bool
        Whether it is of each class.

    Raises
    ------
    ConfigError
        A class would have nothing left to learn from.
    """
    order = np.random.default_rng(seed).permutation(len(pairs.clean))
    first = np.zeros(len(order), bool)
    first[:count] = True
    if per_class:
        drawn = pairs.clean.labels[order]
        first = np.any([_first_of(drawn == label, count) for label in np.unique(drawn)], axis=0)
    leaked, kept = order[first], np.sort(order[~first])
    learned = pairs.clean.take(kept)
    if set(learned.labels) != set(pairs.clean.labels):
        raise ConfigError(
            f"With {len(leaked)} leaked pairs, a class has no image left to learn from; leak fewer."
        )
    left = replace(pairs, clean=learned, protected=pairs.protected[kept])
    given = Aid(leaked_clean=pairs.clean.images[leaked], leaked_protected=pairs.protected[leaked])
    return left, given


def _first_of(chosen: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """Return where the first so many of the chosen are."""
    return chosen & (np.cumsum(chosen) <= count)


def read_other(folder: Path, like: Images) -> Images:
    """Read clean images of another source: the middle of each, brought to the size of others.

    Parameters
    ----------
    folder : Path
        All images in it and below are read; what is none, or is grey where `like` is in colour or
        the reverse, is passed over.
    like : Images
        (N, H, H, C), whose size they get.

    Raises
    ------
    ConfigError
        There is none.
    """
    side, channels = like.shape[1], like.shape[3]
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    images = [image for path in files for image in _read(path, side)]
    fitting = [image for image in images if image.shape[2] == channels]
    if not fitting:
        kind = "grey" if channels == 1 else "in colour"
        raise ConfigError(f"The folder of other images holds none that can be read and is {kind}.")
    return np.stack(fitting)


def _read(path: Path, side: int) -> list[Images]:
    try:
        images = [
            present(view(each), grey=each.is_grey)
            for each in formats.open_file(read_content(path)).images()
        ]
    except (OSError, InputError):
        return []
    return [_bring(image, side) for image in images]


def _bring(image: NDArray[np.float32], side: int) -> Images:
    height, width = image.shape[:2]
    length = min(height, width)
    top, left = (height - length) // 2, (width - length) // 2
    square = np.ascontiguousarray(image[top : top + length, left : left + length])
    tensor = torch.from_numpy(square).permute(2, 0, 1)[None]
    scaled = functional.interpolate(tensor, (side, side), mode="bilinear", antialias=True)
    brought: Images = to_images(scaled - 0.5)[0]
    return brought
