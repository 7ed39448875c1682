"""An open DICOM image: its frames in stored values, and the way back."""

from collections.abc import Iterator, Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from medprotect import limits
from medprotect.errors import CorruptImageError, UnsupportedImageError
from medprotect.imaging.dicom import derive
from medprotect.imaging.dicom.document import Document, read_document, read_header
from medprotect.imaging.dicom.elements import PIXEL_DATA, Element, find
from medprotect.imaging.dicom.header import (
    describe_image,
    read_layout,
    read_padding,
)
from medprotect.imaging.dicom.pixels import Pixels, open_pixels
from medprotect.imaging.dicom.presentation import read_presentation
from medprotect.imaging.image import (
    Derivation,
    Description,
    Encoded,
    Image,
    Stored,
)


class DicomFile:
    """One DICOM image file.

    Parameters
    ----------
    data : bytes
        The whole file.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        The file is rejected, with this reason.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        document = read_bounded(data)
        self._layout = read_layout(document)
        self._description = describe_image(document)
        self._header = document.data_set
        self._padding = read_padding(document.data_set, self._layout)
        self._pixels = self._open_pixels(document)

    def _open_pixels(self, document: Document) -> Pixels:
        element = _pixel_element(document)
        return open_pixels(document.data_set, element, self._layout, document.transfer_syntax)

    @property
    def description(self) -> Description:
        """What the header says."""
        return self._description

    def images(self) -> Iterator[Image]:
        """Decode the frames in order.

        Raises
        ------
        CorruptImageError
            A frame cannot be decoded.
        """
        for frame in range(self._layout.frames):
            yield self._image(frame)

    def _image(self, frame: int) -> Image:
        traits = self._description.traits
        if traits is None:
            raise CorruptImageError("the file holds no image")
        stored = self._pixels.stored(frame)
        presentation = read_presentation(self._header, frame)
        if self._layout.bits_stored > 16 and presentation.has_lut:
            raise UnsupportedImageError("look-up tables of more than 16 bits are not protected")
        return Image(
            stored=stored,
            lowest=self._layout.lowest,
            highest=self._layout.highest,
            photometric=traits.photometric,
            slope=presentation.slope,
            intercept=presentation.intercept,
            windows=presentation.windows,
            modality=traits.modality,
            body_part=traits.body_part,
            locked=self._locked(stored),
            forbidden=self._padding,
            lut=presentation.lut,
            halved_chroma=self._layout.halved_chroma,
        )

    def _locked(self, stored: Stored) -> NDArray[np.bool_] | None:
        """Return where a frame is padding, which stays as it is (C.7.5.1.1.2)."""
        if self._padding is None:
            return None
        lowest, highest = self._padding
        return np.asarray((stored >= lowest) & (stored <= highest))

    def encode(self, changed: Sequence[Stored], derivation: Derivation) -> Encoded:
        """Return the file with other pixels, derived as `docs/reference/dicom.md` says.

        Parameters
        ----------
        changed : sequence of Stored
            One array per frame, in the order of `images`, same shapes and dtypes.
        derivation : Derivation
            What the header says of the change.

        Raises
        ------
        ValueError
            Another number of arrays, another shape, or values that the bits cannot hold.
        """
        self._check(changed)
        document = read_bounded(self._data)
        element = _pixel_element(document)
        size = element.value_end - element.value
        written = self._pixels.write(changed)
        notes = derive.remove_pictures(document.data_set, self._layout)
        notes += derive.remove_signatures(document.data_set)
        derive.derive_header(document, derivation)
        lowest = min(int(stored.min()) for stored in changed)
        highest = max(int(stored.max()) for stored in changed)
        derive.set_pixel_range(document.data_set, lowest, highest)
        notes += derive.set_compression(document, self._layout, size, lossy=self._pixels.lossy)
        derive.set_extended_offsets(document.data_set, written.extended_offsets)
        element.encoded = written.element
        if document.preamble[:128].strip(b"\0"):
            notes.append("preamble_cleared")
        return Encoded(document.write(), tuple(notes))

    def _check(self, changed: Sequence[Stored]) -> None:
        layout = self._layout
        if len(changed) != layout.frames:
            raise ValueError(f"{len(changed)} arrays for {layout.frames} frames")
        for stored in changed:
            if stored.shape != layout.shape or stored.dtype.kind not in "iu":
                raise ValueError(f"a frame of {stored.shape} {stored.dtype}, not {layout.shape}")
            if stored.min() < layout.lowest or stored.max() > layout.highest:
                raise ValueError("stored values outside the range of the file's bits")


def _pixel_element(document: Document) -> Element:
    element = find(document.data_set.elements, PIXEL_DATA)
    if element is None:
        raise CorruptImageError("the image file holds no pixels")
    return element


def read_bounded(data: bytes) -> Document:
    """Read a whole file; a deflated one inflates to no more than its header declares."""
    header = read_header(BytesIO(data))
    if not header.is_deflated:
        return read_document(data, 0)
    most = header.data_set.end + read_layout(header).pixel_bytes + limits.HEADER_BYTES
    return read_document(data, most)
