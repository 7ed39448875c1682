"""What every format reads into and writes from: images in stored values.

A *stored value* is the integer (or float voxel) in the file. The *modality value* is
``stored * slope + intercept`` (HU for CT). The *presented value* is what a window shows, 0..1.
Noise is decided in presented values and applied to stored values; no float round trip of the
image itself decides what is written.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

Stored = NDArray[Any]
"""Stored values of one image: (H, W) or (H, W, 3), any int or float dtype, native byte order."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An image in two files.

    Attributes
    ----------
    header : bytes
        The whole file that says what the voxels are.
    voxels : bytes
        The whole file that holds them.
    """

    header: bytes
    voxels: bytes


Readable = BinaryIO | Pair
"""An image file that is read as far as it is needed, seekable; or both of an image in two."""

Content = bytes | Pair
"""What an image file holds: one file, or the two that an image lies in."""


@dataclass(frozen=True, slots=True)
class Detached:
    """How the file is called that holds the voxels of a header; it lies in the same folder.

    Attributes
    ----------
    name : str
        The file's name, where the header states it, else "".
    endings : tuple of str
        Else, endings of the header's own name that stand for `others`; lower case.
    others : tuple of str
        What one of `endings` is replaced by.
    """

    name: str = ""
    endings: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    def names_for(self, header: str) -> tuple[str, ...]:
        """Return the names that the file may have, beside a header of this name."""
        if self.name:
            return (self.name,)
        for ending in self.endings:
            stem = header[: -len(ending)]
            if stem and header.lower() == stem.lower() + ending:
                is_upper = header[len(stem) :].isupper()
                return tuple(stem + (end.upper() if is_upper else end) for end in self.others)
        return ()


class Role(StrEnum):
    """What a file is to a run."""

    IMAGE = "image"
    OTHER = "other"


@dataclass(frozen=True, slots=True, eq=False)
class Lut:
    """A look-up table (PS3.3 sections C.11.1.1 and C.11.2.1.1).

    Attributes
    ----------
    first : int
        The input that the first entry is for.
    values : NDArray of float64
        (N,), N >= 2, not all the same.
    """

    first: int
    values: NDArray[np.float64]

    def map(self, inputs: NDArray[Any]) -> NDArray[np.float64]:
        """Return the outputs, same shape: the ends beyond the table, linear between entries."""
        at = np.arange(self.first, self.first + len(self.values), dtype=np.float64)
        outputs: NDArray[np.float64] = np.interp(inputs, at, self.values)
        return outputs

    @property
    def mean_slope(self) -> float:
        """Output a unit of input, from the first entry to the last."""
        return float(self.values[-1] - self.values[0]) / (len(self.values) - 1)


@dataclass(frozen=True, slots=True)
class Window:
    """A VOI window in modality values (PS3.3 C.11.2.1.2), or a VOI LUT (C.11.2.1.1).

    Attributes
    ----------
    center, width : float
        In modality values; `width` > 0. Of a LUT, those of its inputs.
    function : str
        ``LINEAR``, ``LINEAR_EXACT`` or ``SIGMOID`` (VOI LUT Function), or ``LUT``.
    lut : Lut or None
        Modality values to presented values, 0..1.
    """

    center: float
    width: float
    function: str = "LINEAR"
    lut: Lut | None = None

    @property
    def lower(self) -> float:
        """The modality value that is shown black."""
        return self.center - self.width / 2

    @property
    def upper(self) -> float:
        """The modality value that is shown white."""
        return self.center + self.width / 2


@dataclass(frozen=True, slots=True)
class Traits:
    """What is known of a file's images: what selection and budget need, and nothing personal.

    All but `shows_grey` stands in the header.

    Attributes
    ----------
    format : str
        One of `medprotect.scan.sniff.FORMATS`.
    modality : str
        DICOM Modality (0008,0060), or "" where the format states none.
    body_part : str
        Body Part Examined (0018,0015), upper case, or "".
    photometric : str
        Photometric Interpretation in DICOM's words, for every format.
    channels : int
        Samples per pixel, 1 or 3.
    bits_stored : int
        Bits of a stored value that count.
    signed, floating : bool
        Representation of the stored values.
    rows, columns, images : int
        Matrix, and the number of frames or slices in the file.
    compression : str
        Name of the transfer syntax or of the compression; "none" where there is none.
    lossy : bool
        Whether the pixels lie lossily compressed in the file, so that it is promoted on writing.
    quantitative : bool
        Whether the values are measurements (PET, NM, parametric maps): refused unless asked for.
    shows_grey : bool
        Whether colour is stored and every pixel of every image is grey; False until pixels are
        decoded.
    """

    format: str
    modality: str = ""
    body_part: str = ""
    photometric: str = "MONOCHROME2"
    channels: int = 1
    bits_stored: int = 8
    signed: bool = False
    floating: bool = False
    rows: int = 0
    columns: int = 0
    images: int = 1
    compression: str = "none"
    lossy: bool = False
    quantitative: bool = False
    shows_grey: bool = False

    @property
    def as_shown(self) -> "Traits":
        """The traits of the same images with one channel, where they show nothing but grey."""
        return replace(self, photometric="MONOCHROME2", channels=1) if self.shows_grey else self


@dataclass(frozen=True, slots=True)
class Description:
    """What the header of one file says, read without decoding pixels.

    Attributes
    ----------
    role : Role
        ``IMAGE``: to be protected. ``OTHER``: left out of OUT unless ``--others copy``.
    kind : str
        Words for listings, such as ``dicom CT`` or ``dicom RTSTRUCT``; nothing personal.
    traits : Traits or None
        None for ``OTHER``.
    series : str
        The same opaque text for all files of one series; "" where a file is its own series.
    instance : str
        An opaque text for the UID of the instance, by which other files refer to it; "" for none.
    output_suffix : str
        Appended to the file's name in OUT (``.png`` for a JPEG, which is promoted), else "".
    warnings : tuple of str
        Slugs: ``patient_identity_not_removed``, ``burned_in_annotation_not_excluded`` ...
    uids : tuple of (str, str)
        What `Derivation.new_uid` is asked for: kind and UID. Never shown.
    detached : Detached or None
        Where the voxels lie, of a header that was read without them; `traits` is None then.
    """

    role: Role
    kind: str
    traits: Traits | None = None
    series: str = ""
    instance: str = ""
    output_suffix: str = ""
    warnings: tuple[str, ...] = ()
    uids: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    detached: Detached | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """One frame or slice.

    Attributes
    ----------
    stored : Stored
        (H, W), or (H, W, 3) for colour; as the file holds it (YBR stays YBR, MONOCHROME1 stays
        inverted). Unused high bits are already removed and signs extended.
    lowest, highest : float
        Range of stored values that the file can hold.
    photometric : str
        As in `Traits`, of the array in `stored`.
    slope, intercept : float
        Rescale to modality values; where there is a LUT, its mean slope, and 0.
    windows : tuple of Window
        The header's VOI windows and LUTs, in modality values; may be empty.
    modality, body_part : str
        As in `Traits`.
    locked : NDArray of bool, or None
        (H, W); True where nothing may change whatever the window: padding, overlays burned in.
    forbidden : tuple of (float, float), or None
        Closed range of stored values (Pixel Padding) that no changed pixel may take.
    lut : Lut or None
        Stored values to modality values, instead of a rescale; grey images only, and monotone.
    halved_chroma : bool
        Whether two neighbours in a row have to have the same Cb and Cr, because they share them.
    """

    stored: Stored
    lowest: float
    highest: float
    photometric: str = "MONOCHROME2"
    slope: float = 1.0
    intercept: float = 0.0
    windows: tuple[Window, ...] = ()
    modality: str = ""
    body_part: str = ""
    locked: NDArray[np.bool_] | None = None
    forbidden: tuple[float, float] | None = None
    lut: Lut | None = None
    halved_chroma: bool = False

    @property
    def is_grey(self) -> bool:
        """Whether it shows nothing but grey: one channel, or three that are equal in every pixel.

        Of YBR: Cb and Cr are in the middle of their range, so that what is shown is Y.
        """
        if self.stored.ndim == 2:
            return True
        first, *others = np.moveaxis(self.stored, -1, 0)  # one by one is several times as fast
        grey = (self.highest + 1) / 2 if self.photometric.startswith("YBR") else first
        return all(bool((each == grey).all()) for each in others)


def _keep(_kind: str, uid: str) -> str:
    return uid


@dataclass(frozen=True, slots=True)
class Derivation:
    """What a protected file says of how it came to be; no wall-clock time, so runs agree.

    Attributes
    ----------
    pipeline, version : str
        Name of the pipeline and version of medprotect.
    strength : str
        ``low``, ``standard`` or ``high``.
    decoys : bool
        Whether the noise shows a wrong class to models trained on clean images.
    new_uid : callable
        ``new_uid(kind, source_uid) -> uid``, kind being ``instance`` or ``series``: deterministic
        under the owner's key. The default keeps UIDs.
    keep_uids : bool
        Whether UIDs are kept, so that Original Attributes Sequence applies instead.
    source_reference : bool
        Whether Source Image Sequence names the original instance; off by default, because it
        undoes a pseudonymisation.
    """

    pipeline: str
    version: str
    strength: str
    decoys: bool
    new_uid: Callable[[str, str], str] = field(default=_keep)
    keep_uids: bool = False
    source_reference: bool = False


@dataclass(frozen=True, slots=True)
class Encoded:
    """A protected file, ready to be written.

    Attributes
    ----------
    data : bytes or Pair
        The whole file, or both.
    notes : tuple of str
        Slugs of what was done besides changing pixels: ``icon_image_removed``,
        ``exif_thumbnail_removed``, ``promoted_to_lossless``, ``signature_removed`` ...
    """

    data: Content
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A protected file, made while it is written.

    Attributes
    ----------
    chunks : callable
        ``chunks() -> iterator of bytes``: the whole file.
    notes : tuple of str
        As in `Encoded`.
    """

    chunks: Callable[[], Iterator[bytes | memoryview]]
    notes: tuple[str, ...] = ()


class Rewriting(Protocol):
    """A file that gets other pixels, image by image."""

    def add(self, stored: Stored) -> None:
        """Take the next image."""
        ...

    def finish(self, derivation: Derivation) -> Rewritten:
        """Return the new file, once all images are there."""
        ...


class ImageFile(Protocol):
    """An open image file: its images in stored values, and the way back."""

    @property
    def description(self) -> Description:
        """What the header says."""
        ...

    def images(self) -> Iterator[Image]:
        """Decode the images in order.

        Raises
        ------
        CorruptImageError
            Where fewer pixels are there than the header promises, or they cannot be decoded.
        """
        ...

    def encode(self, changed: Sequence[Stored], derivation: Derivation) -> Encoded:
        """Return the file with the pixels replaced and nothing else changed but what is listed.

        Parameters
        ----------
        changed : sequence of Stored
            One array per image, in the order of `images`, same shapes and dtypes.
        derivation : Derivation
            What the header says of the change.
        """
        ...


class StreamedFile(ImageFile, Protocol):
    """An open image file of which no more than one image lies in memory."""

    def rewrite(self, scratch: BinaryIO) -> Rewriting:
        """Begin the file anew with other pixels, which wait in `scratch`."""
        ...


class ImageFormat(Protocol):
    """A module that handles one format; `medprotect.imaging.formats` lists them."""

    DOCUMENTED_CHANGES: frozenset[str]
    """Names of the header elements that a protected file may differ in, as in the documentation."""

    def describe(self, stream: BinaryIO) -> Description:
        """Read the header from a seekable stream, without decoding pixels.

        Raises
        ------
        UnsupportedImageError, CorruptImageError, ImageTooLargeError
            The file is rejected, with this reason.
        """
        ...

    def open_file(self, data: Content) -> ImageFile:
        """Open a file whose description has role ``IMAGE``."""
        ...

    def changed_elements(self, original: Content, protected: Content) -> list[str]:
        """Name every header element in which the two files differ, documented or not.

        Works from the bytes of both files, independently of `ImageFile.encode`; "element" is a
        DICOM keyword or tag path, a NIfTI header field, a PNG chunk, a TIFF tag, an EXIF tag.
        Pixel data itself is not named.
        """
        ...

    def undocumented_changes(self, original: Content, protected: Content) -> list[str]:
        """Name the elements of `changed_elements` that the format's documentation does not list.

        Empty where the protected file differs from its original only as documented, conditions
        included (an element that may go only because it holds a picture, for example).
        """
        ...


class VolumeFormat(ImageFormat, Protocol):
    """A format of volumes, whose voxels may lie in a file of their own."""

    def describe(
        self, stream: BinaryIO, voxels: BinaryIO | None = None, *, finds_masks: bool = True
    ) -> Description:
        """Read the header, and voxels only until they are known to be no label map.

        Parameters
        ----------
        stream : binary file
            Seekable; read from its beginning.
        voxels : binary file, optional
            The file that holds the voxels, once the description of the header alone has named it.
        finds_masks : bool
            Whether label maps and masks are told from images; else all are images.

        Raises
        ------
        NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
            The file is rejected, with this reason.
        """
        ...
