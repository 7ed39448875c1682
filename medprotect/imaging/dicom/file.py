"""An open DICOM image: its frames in stored values, and the way back."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from medprotect import limits
from medprotect.errors import (
    CorruptImageError,
    ImageTooLargeError,
    InputError,
    UnsupportedImageError,
)
from medprotect.imaging.dicom import derive
from medprotect.imaging.dicom.document import Document, is_deflated, read_document, read_header
from medprotect.imaging.dicom.elements import chunks_of
from medprotect.imaging.dicom.header import (
    describe_image,
    read_layout,
    read_padding,
)
from medprotect.imaging.dicom.layout import PixelLayout
from medprotect.imaging.dicom.outline import Outline, pixel_element, read_outline
from medprotect.imaging.dicom.pixels import Pixels, Spool, open_pixels
from medprotect.imaging.dicom.presentation import read_presentation
from medprotect.imaging.image import (
    Derivation,
    Description,
    Encoded,
    Image,
    Rewritten,
    Stored,
)


class DicomFile:
    """One DICOM image file.

    Parameters
    ----------
    stream : binary file
        The whole file, seekable; stays open as long as this is used. Frames are read from it one
        at a time.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        The file is rejected, with this reason.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._outline = read_outline(stream)
        document = self._outline.read()
        self._layout = read_layout(document)
        self._description = describe_image(document, self._layout)
        self._header = document.data_set
        self._padding = read_padding(document.data_set, self._layout)
        self._pixels = open_pixels(
            self._header, self._outline.value, self._layout, document.transfer_syntax
        )

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
            raise UnsupportedImageError(
                "pixels of more than 16 bits behind a look-up table are not protected; store what"
                " comes out of it as pixels"
            )
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
        rewriting = self.rewrite(BytesIO())
        for stored in changed:
            rewriting.add(stored)
        rewritten = rewriting.finish(derivation)
        whole = BytesIO()
        whole.writelines(rewritten.chunks())
        return Encoded(whole.getvalue(), rewritten.notes)

    def rewrite(self, scratch: BinaryIO) -> "Rewriting":
        """Begin the file anew with other pixels.

        Parameters
        ----------
        scratch : binary file
            Empty, for reading and writing: where frames wait for the header, which comes before
            them and depends on all.
        """
        return Rewriting(self._outline, self._layout, self._pixels, Spool(scratch))


class Rewriting:
    """A file that gets other pixels, frame by frame.

    Parameters
    ----------
    outline : Outline
        Of the source.
    layout : PixelLayout
        Of its pixels.
    pixels : Pixels
        Of the source.
    spool : Spool
        Empty.
    """

    def __init__(self, outline: Outline, layout: PixelLayout, pixels: Pixels, spool: Spool) -> None:
        self._outline, self._layout = outline, layout
        self._pixels, self._spool = pixels, spool
        self._lowest, self._highest = layout.highest, layout.lowest

    def add(self, stored: Stored) -> None:
        """Take the next frame.

        Raises
        ------
        ValueError
            It has another shape, values that the bits cannot hold, or is one too many.
        """
        layout, index = self._layout, len(self._spool.lengths)
        if index == layout.frames:
            raise ValueError(f"more than {layout.frames} frames")
        if stored.shape != layout.shape or stored.dtype.kind not in "iu":
            raise ValueError(f"a frame of {stored.shape} {stored.dtype}, not {layout.shape}")
        lowest, highest = int(stored.min()), int(stored.max())
        if lowest < layout.lowest or highest > layout.highest:
            raise ValueError("stored values outside the range of the file's bits")
        self._lowest, self._highest = min(self._lowest, lowest), max(self._highest, highest)
        self._spool.add(self._pixels.encode(index, stored))

    def finish(self, derivation: Derivation) -> Rewritten:
        """Return the new file, once all frames are there.

        Raises
        ------
        ValueError
            Some are missing.
        """
        if len(self._spool.lengths) != self._layout.frames:
            raise ValueError(f"{len(self._spool.lengths)} of {self._layout.frames} frames")
        document = self._outline.read()
        written = self._pixels.write(self._spool)
        notes = derive.remove_pictures(document.data_set, self._layout)
        notes += derive.remove_signatures(document.data_set)
        derive.derive_header(document, derivation)
        derive.set_pixel_range(document.data_set, self._lowest, self._highest)
        size = self._outline.value.size
        notes += derive.set_compression(document, self._layout, size, lossy=self._pixels.lossy)
        derive.set_extended_offsets(document.data_set, written.extended_offsets)
        pixel_element(document).encoded = written.element
        if document.preamble[:128].strip(b"\0"):
            notes.append("preamble_cleared")
        return Rewritten(lambda: chunks_of(document.parts()), tuple(notes))


def read_whole(data: bytes) -> Document:
    """Read a whole file, of an image or not.

    Raises
    ------
    NotAnImageError, CorruptImageError, ImageTooLargeError
        As `medprotect.imaging.dicom.document.read_document`.
    """
    try:
        return read_bounded(data)
    except ImageTooLargeError:
        raise
    except InputError:  # deflated, and of pixels that are not protected
        return read_document(data, limits.HEADER_BYTES)


def read_bounded(data: bytes) -> Document:
    """Read a whole file; a deflated one inflates to no more than its header declares."""
    if len(data) <= limits.HEADER_BYTES and not is_deflated(data):
        return read_document(data, 0)
    header = read_header(BytesIO(data))
    if not header.is_deflated:
        return read_document(data, 0)
    most = header.data_set.end + read_layout(header).pixel_bytes + limits.HEADER_BYTES
    return read_document(data, most)
