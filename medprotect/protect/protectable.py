"""One image file in memory: read in stored values, protected, written, checked again."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO
from itertools import zip_longest
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

import medprotect
from medprotect.confounder.along_z import COHERENT
from medprotect.confounder.card import Card
from medprotect.confounder.key import Key
from medprotect.confounder.slots import GRAIN_ALONE
from medprotect.errors import UnsupportedImageError, VerificationError
from medprotect.imaging import dicom, formats
from medprotect.imaging.image import (
    Content,
    Derivation,
    Description,
    Image,
    ImageFile,
    Pair,
    Readable,
    Role,
    Stored,
)
from medprotect.intensity.apply import apply_noise, share_of_budget
from medprotect.intensity.budget import Reach, budget_lsb, may_change, to_presented
from medprotect.intensity.windows import present, view
from medprotect.protect.last_budget import keep_budget, take_budget

Bound = NDArray[np.float32] | None

Noise = Callable[[NDArray[np.float32], bytes, int | None, Bound], NDArray[np.float32]]
"""``noise(presented, content_sha256, label, bound)``, as that of `medprotect.confounder.noise`; the
bound (H, W) is the budget in presented values, None where there is to be grain alone."""


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

    @property
    def is_grey(self) -> bool:
        """Whether colour is stored and every pixel is grey."""
        return self.stored.ndim == 4 and all_grey(self.images)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the bytes of the file: what is read from them goes to no other process."""
        return read_protectable, (self.data,)

    def __deepcopy__(self, _memo: object) -> "Protectable":
        return self


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


def is_grey(file: ImageFile) -> bool:
    """Whether a file stores colour and every pixel of every image in it is grey.

    Images are decoded up to the first that has colour, and none where grey is stored.
    """
    traits = file.description.traits
    return traits is not None and traits.channels == 3 and all_grey(file.images())


def all_grey(images: Iterable[Image]) -> bool:
    """Whether images show nothing but grey; looks at them up to the first that has colour."""
    return all(image.is_grey for image in images)


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
    return _collect(images, noisy(images, noise, strength, label, grey=all_grey(images)))


def apply_patterns(
    images: Sequence[Image],
    make: Callable[[int, NDArray[np.float32]], NDArray[np.float32]],
    strength: str,
) -> Stored:
    """Return the images of a file with the noise of ``make(index, presented)``; see `add_noise`."""
    made = _apply(
        images,
        lambda index, _image, presented, _bound: make(index, presented),
        strength,
        grey=all_grey(images),
    )
    return _collect(images, made)


def noisy(
    images: Iterable[Image],
    noise: Noise,
    strength: str,
    label: int | None = None,
    *,
    grey: bool,
) -> Iterator[Stored]:
    """Yield the images of a file with noise, one after the other; as `add_noise`.

    `grey` says whether all of them are: where colour is stored, noise is made of one channel then,
    and the same is added to all three.

    Raises
    ------
    BudgetBelowOneError
        After the last of them.
    """
    return _apply(
        images,
        lambda _, image, presented, bound: noise(presented, content_sha256(image), label, bound),
        strength,
        grey=grey,
    )


def find_reach(images: Iterable[Image], strength: str) -> tuple[Reach, bool]:
    """Decode the images of a file, and find how far noise would reach, without making any.

    Returns
    -------
    Reach
        Whose `check` refuses the file as `noisy` would.
    bool
        As `all_grey`.

    Raises
    ------
    InputError
        An image cannot be decoded.
    """
    reach, grey = Reach(strength), True
    for image in images:
        grey = grey and image.is_grey
        seen = view(image)
        reach.add(seen, may_change(seen, strength))
    return reach, grey


def _apply(
    images: Iterable[Image],
    make: Callable[[int, Image, NDArray[np.float32], Bound], NDArray[np.float32]],
    strength: str,
    *,
    grey: bool,
) -> Iterator[Stored]:
    reach = Reach(strength)
    for index, image in enumerate(images):
        seen = view(image)
        budget = budget_lsb(seen, strength)
        reach.add(seen, budget > 0)
        keep_budget(image, strength, budget)
        if budget.any():
            bound = None if strength == GRAIN_ALONE else to_presented(seen, budget)
            noise = make(index, image, present(seen, grey=grey), bound)
            yield apply_noise(image, noise, budget)
        else:
            yield image.stored
    reach.check()


def _collect(images: Sequence[Image], made: Iterable[Stored]) -> Stored:
    changed = np.empty((len(images), *images[0].stored.shape), images[0].stored.dtype)
    for index, stored in enumerate(made):
        changed[index] = stored
    return changed


def derive(
    card: Card,
    key: Key,
    strength: str,
    *,
    labels_sha256: str = "",
    keep_uids: bool = False,
    along_z: str = COHERENT,
) -> Derivation:
    """Return what a protected file says of itself.

    With labels, or another way along z, the same image gets other pixels, so UIDs depend on them
    too.
    """
    identity = card.pipeline_sha256
    if labels_sha256:
        identity = hashlib.sha256(f"{identity} labels {labels_sha256}".encode()).hexdigest()
    new_uid = partial(
        key.new_uid,
        pipeline_sha256=identity,
        strength=strength,
        decoys=card.codes.decoys,
        along_z=along_z,
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
class KnownUids:
    """The new UIDs of one file, derived already: they are its own, and the key is not here.

    Attributes
    ----------
    uids : mapping of (str, str) to str
        By kind and source UID.
    """

    uids: Mapping[tuple[str, str], str] = field(repr=False)

    def __call__(self, kind: str, source_uid: str) -> str:
        """Return the new UID; see `Derivation`."""
        return self.uids[kind, source_uid]


def settle(
    derivation: Derivation, description: Description, label: int | None = None
) -> Derivation:
    """Return a derivation for this file alone, which can be kept and pickled without the key.

    The UID of the instance, not that of its series, depends on the label, where one is given.
    """
    said = {} if label is None else {"instance": f" label {label}"}
    new_uids = {
        (kind, uid): derivation.new_uid(kind, uid + said.get(kind, ""))
        for kind, uid in description.uids
    }
    return replace(derivation, new_uid=KnownUids(new_uids))


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


def check_file(
    original: Content, protected: Content, strength: str, uids: Mapping[str, str] | None = None
) -> FileCheck:
    """Compare a protected file with its original, as `check_stream` does."""
    return check_stream(readable(original), readable(protected), strength, uids)


def readable(content: Content) -> Readable:
    """Return what lies in memory as what is read like a file."""
    return content if isinstance(content, Pair) else BytesIO(content)


def check_stream(
    original: Readable, protected: Readable, strength: str, uids: Mapping[str, str] | None = None
) -> FileCheck:
    """Compare a protected file with its original, pixel by pixel and element by element.

    Both are decoded, and the budget is computed from the original; or it is the one that the noise
    was made with, if the original just decoded is the image it was computed from, in every value.
    Of a lossy original, what the decoder makes of it counts.

    Parameters
    ----------
    original, protected : binary file or Pair
        Seekable.
    strength : str
        That it was protected with.
    uids : mapping of str to str, optional
        The new UIDs of all protected files, by the names of the old, where references to them are
        to be remapped already.

    Raises
    ------
    VerificationError
        A pixel is beyond its budget, an image is missing, none changed, or a header element differs
        that the documentation does not list.
    InputError
        One of the files cannot be decoded.
    """
    before, after = formats.open_stream(original), formats.open_stream(protected)
    share, changed, pixels, count = 0.0, 0, 0, 0
    for image, other in zip_longest(before.images(), after.images()):
        if image is None or other is None:
            raise VerificationError("the protected file holds another number of images")
        budget = take_budget(image, strength)
        share = max(share, share_of_budget(image, other.stored, budget))
        differs = image.stored != other.stored
        changed += int((differs if differs.ndim == 2 else differs.any(-1)).sum())
        pixels += budget.size
        count += 1
    if share > 1:
        raise VerificationError("a pixel changed by more than its budget")
    if changed == 0:
        raise VerificationError("no pixel of the file changed: it is not protected")
    found = formats.undocumented_changes(original, protected, uids)
    if found:
        raise VerificationError(
            f"header elements changed that the documentation does not list: {', '.join(found)}"
        )
    return FileCheck(count, share, changed / pixels)


def check_remapped(
    original: bytes, made: bytes, remapped: bytes, uids: Mapping[str, str], *, is_image: bool
) -> None:
    """Compare a DICOM file whose references were remapped with its original, and with what it was.

    Parameters
    ----------
    original, made, remapped : bytes
        The file of the export; what it was made into; and that with other references.
    uids : mapping of str to str
        New UIDs by the names of the old.
    is_image : bool
        Whether it is a protected image, and not a copied object.

    Raises
    ------
    VerificationError
        Pixels differ from those made, or an element that may not.
    InputError
        One of the files cannot be read.
    """
    found = dicom.undocumented_copy_changes(made, remapped, uids)
    if is_image and not found:
        found = dicom.undocumented_changes(original, remapped, uids)
    if found:
        raise VerificationError(f"{found[0]} is not as it should be after references were remapped")


def sha256_of(stream: BinaryIO) -> str:
    """Return the SHA-256 of all of a seekable stream, in hex."""
    stream.seek(0)
    return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
