"""One image file in memory: read in stored values, protected, written, checked again."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

import medprotect
from medprotect.confounder.card import Card
from medprotect.confounder.key import Key
from medprotect.errors import UnsupportedImageError, VerificationError
from medprotect.imaging import formats
from medprotect.imaging.image import Content, Derivation, Image, ImageFile, Role, Stored
from medprotect.intensity.apply import apply_noise, share_of_budget
from medprotect.intensity.budget import Reach, budget_lsb
from medprotect.intensity.windows import present, view

Noise = Callable[[NDArray[np.float32], bytes, int | None], NDArray[np.float32]]
"""``noise(presented, content_sha256, label)``, as that of `medprotect.confounder.noise`."""


@dataclass(frozen=True, slots=True, eq=False)
class Protectable:
    """An image file, read.

    Attributes
    ----------
    data : bytes or Pair
        The whole file, or both of an image in two.
    file : ImageFile
        The way back to a file.
    stored : Stored
        All images: (N, H, W), or (N, H, W, 3) for colour.
    images : tuple of Image
        N images; the arrays are views of `stored`.
    """

    data: Content
    file: ImageFile
    stored: Stored
    images: tuple[Image, ...]


def read_protectable(data: Content) -> Protectable:
    """Read a whole image file, known by its content.

    Raises
    ------
    InputError
        Of the kind that says why it cannot be protected.
    """
    file = formats.open_file(data)
    traits = file.description.traits
    if file.description.role is not Role.IMAGE or traits is None:
        raise UnsupportedImageError("a file without an image to protect")
    images: list[Image] = []
    stored: Stored | None = None
    for index, image in enumerate(file.images()):
        if stored is None:
            stored = np.empty((traits.images, *image.stored.shape), image.stored.dtype)
        stored[index] = image.stored
        images.append(replace(image, stored=stored[index]))
    if stored is None or len(images) != len(stored):
        raise UnsupportedImageError("a file without an image to protect")
    return Protectable(data, file, stored, tuple(images))


def content_sha256(image: Image) -> bytes:
    """Return the SHA-256 of an image's stored values: which decoy it gets depends on it."""
    digest = hashlib.sha256(f"{image.stored.dtype.str} {image.stored.shape}".encode())
    digest.update(np.ascontiguousarray(image.stored).data)
    return digest.digest()


def add_noise(
    images: Sequence[Image], noise: Noise, strength: str, label: int | None = None
) -> Stored:
    """Return the images of a file with noise, (N, H, W) or (N, H, W, 3), in stored values.

    Parameters
    ----------
    images : sequence of Image
        All images of a file, as read.
    noise : callable
        Makes the noise of one image.
    strength : str
        ``low``, ``standard`` or ``high``.
    label : int, optional
        The class, where it is known.

    Raises
    ------
    BudgetBelowOneError
        The noise would round away in most of the file.
    """
    changed = np.empty((len(images), *images[0].stored.shape), images[0].stored.dtype)
    reach = Reach()
    for index, image in enumerate(images):
        seen = view(image)
        budget = budget_lsb(seen, strength)
        reach.add(seen, budget)
        if budget.any():
            made = noise(present(seen), content_sha256(image), label)
            changed[index] = apply_noise(image, made, budget)
        else:
            changed[index] = image.stored
    reach.check()
    return changed


def derive(
    card: Card, key: Key, strength: str, *, labels_sha256: str = "", keep_uids: bool = False
) -> Derivation:
    """Return what a protected file says of itself.

    With labels the same image gets other pixels, so UIDs depend on them too.
    """
    identity = card.pipeline_sha256
    if labels_sha256:
        identity = hashlib.sha256(f"{identity} labels {labels_sha256}".encode()).hexdigest()

    def new_uid(kind: str, source_uid: str) -> str:
        return key.new_uid(
            kind,
            source_uid,
            pipeline_sha256=identity,
            strength=strength,
            decoys=card.codes.decoys,
        )

    return Derivation(
        pipeline=card.name,
        version=medprotect.__version__,
        strength=strength,
        decoys=card.codes.decoys,
        new_uid=new_uid,
        keep_uids=keep_uids,
    )


@dataclass(frozen=True, slots=True)
class FileCheck:
    """What a protected file was found to be beside its original.

    Attributes
    ----------
    images : int
        How many images were compared.
    share : float
        Largest change of a pixel as a share of its budget; at most 1.
    changed : float
        Share of all pixels that changed.
    """

    images: int
    share: float
    changed: float


def check_file(original: Content, protected: Content, strength: str) -> FileCheck:
    """Compare a protected file with its original, pixel by pixel and element by element.

    Takes nothing from the making of the file: both are decoded, and the budget is computed from
    the original. Of a lossy original, what the decoder makes of it counts.

    Raises
    ------
    VerificationError
        A pixel is beyond its budget, an image is missing, none changed, or a header element differs
        that the documentation does not list.
    InputError
        One of the files cannot be decoded.
    """
    before, after = formats.open_file(original), formats.open_file(protected)
    share, changed, pixels, count = 0.0, 0, 0, 0
    for image, other in zip_longest(before.images(), after.images()):
        if image is None or other is None:
            raise VerificationError("the protected file holds another number of images")
        budget = budget_lsb(view(image), strength)
        share = max(share, share_of_budget(image, other.stored, budget))
        differs = image.stored != other.stored
        changed += int((differs if differs.ndim == 2 else differs.any(-1)).sum())
        pixels += budget.size
        count += 1
    if share > 1:
        raise VerificationError("a pixel changed by more than its budget")
    if changed == 0:
        raise VerificationError("no pixel of the file changed: it is not protected")
    _check_header(original, protected)
    return FileCheck(count, share, changed / pixels)


def _check_header(original: Content, protected: Content) -> None:
    description = formats.open_file(original).description
    name = description.traits.format if description.traits else ""
    found = formats.load_format(name).undocumented_changes(original, protected)
    if found:
        raise VerificationError(
            f"header elements changed that the documentation does not list: {', '.join(found)}"
        )
