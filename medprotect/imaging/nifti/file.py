"""An open NIfTI image: its slices in stored values, and the way back."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from medprotect.errors import CorruptImageError, UnsupportedImageError
from medprotect.imaging.image import (
    Derivation,
    Description,
    Encoded,
    Image,
    Role,
    Stored,
    Traits,
    Window,
)
from medprotect.imaging.nifti.compression import Source, compress, is_gzip, read_gzip_header
from medprotect.imaging.nifti.header import Header
from medprotect.imaging.nifti.labels import LabelCounter
from medprotect.imaging.pictures import holds_picture

_CHUNK_BYTES = 4 * 1024 * 1024


def describe(stream: BinaryIO) -> Description:
    """Read the header, and voxels only until they are known to be no label map.

    Parameters
    ----------
    stream : binary file
        Seekable; read from its beginning.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        The file is rejected, with this reason.
    """
    source = Source(stream)
    head, header = source.read_header()
    _check_extensions(head[: header.offset])
    if header.labels or _is_label_map(source, head, header):
        return Description(Role.OTHER, "nifti label map")
    return _describe_image(header, source.gzipped)


def _check_extensions(head: bytes) -> None:
    if holds_picture(head[348:]):
        raise UnsupportedImageError(
            "a header extension holds a picture; remove the extension, then run again"
        )


def _is_label_map(source: Source, head: bytes, header: Header) -> bool:
    counter = LabelCounter()
    width = header.dtype.itemsize
    rest = head[header.offset :]
    left = header.data_bytes
    while left > 0:
        chunk = rest + source.read(_CHUNK_BYTES)
        if len(chunk) < width:  # the voxels to come could have been an image's
            raise CorruptImageError("the file holds fewer voxels than its header says")
        whole = min(len(chunk) // width * width, left)
        voxels = np.frombuffer(chunk[:whole], header.dtype)
        if not counter.add(voxels.astype(header.dtype.newbyteorder("="))):
            return False
        rest = chunk[whole:]
        left -= whole
    return counter.is_label_map


def _describe_image(header: Header, gzipped: bool) -> Description:
    kind = header.dtype.kind
    traits = Traits(
        format="nifti",
        bits_stored=header.dtype.itemsize * 8,
        signed=kind != "u",
        floating=kind == "f",
        rows=header.rows,
        columns=header.columns,
        images=header.images,
        compression="gzip" if gzipped else "none",
        quantitative=header.quantitative,
    )
    return Description(Role.IMAGE, "nifti image", traits)


class NiftiFile:
    """One NIfTI file.

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
        self._gzip_header = read_gzip_header(data) if is_gzip(data) else b""
        self._data, self._header, self._is_followed = Source(BytesIO(data)).read_all()
        _check_extensions(bytes(self._data[: self._header.offset]))
        self._description = _describe_image(self._header, bool(self._gzip_header))

    @property
    def description(self) -> Description:
        """What the header says."""
        return self._description

    def images(self) -> Iterator[Image]:
        """Decode the slices in order: along the third axis, then along all further ones."""
        voxels = self._voxels(self._data)
        windows = self._windows(voxels)
        native = self._header.dtype.newbyteorder("=")
        limits = np.finfo(native) if native.kind == "f" else np.iinfo(native)
        for plane in voxels:
            stored = plane.astype(native)
            finite = np.isfinite(stored)
            yield Image(
                stored=stored,
                lowest=float(limits.min),
                highest=float(limits.max),
                slope=self._header.slope,
                intercept=self._header.intercept,
                windows=windows,
                locked=None if finite.all() else ~finite,
            )

    def _voxels(self, data: bytes | bytearray) -> NDArray[Any]:
        """Return the voxels (images, rows, columns), a view; Fortran order read as C order."""
        header = self._header
        count = header.images * header.rows * header.columns
        voxels = np.frombuffer(data, header.dtype, count, header.offset)
        return voxels.reshape(header.images, header.rows, header.columns)

    def _windows(self, voxels: NDArray[Any]) -> tuple[Window, ...]:
        """Return the display range, if it shows anything of the image."""
        lower, upper = self._header.cal_min, self._header.cal_max
        width = upper - lower
        if not np.isfinite([lower, upper, width]).all() or width <= 0:
            return ()
        with np.errstate(invalid="ignore"):
            ends = [np.nanmin(voxels), np.nanmax(voxels)] if not _is_all_nan(voxels) else [0, 0]
        values = sorted(float(end) * self._header.slope + self._header.intercept for end in ends)
        if values[1] <= lower or values[0] >= upper:
            return ()
        return (Window(lower + width / 2, width, "LINEAR_EXACT"),)

    def encode(self, changed: Sequence[Stored], derivation: Derivation) -> Encoded:
        """Return the file with other voxels; every byte before and behind them is the source's.

        Parameters
        ----------
        changed : sequence of Stored
            One array per slice, in the order of `images`, same shapes and dtypes.
        derivation : Derivation
            Not stated in the file: the header stays as it is.

        Raises
        ------
        ValueError
            Another number of arrays, another shape or dtype.
        """
        header = self._header
        if len(changed) != header.images:
            raise ValueError(f"{len(changed)} arrays for {header.images} slices")
        data = bytearray(self._data)
        voxels = self._voxels(data)
        for plane, stored in zip(voxels, changed, strict=True):
            if stored.shape != plane.shape or stored.dtype != header.dtype.newbyteorder("="):
                raise ValueError(f"a slice of {stored.shape} {stored.dtype}, not {plane.shape}")
            plane[...] = stored
        notes = ("trailing_data_removed",) if self._is_followed else ()
        if self._gzip_header:
            return Encoded(compress(data, self._gzip_header), notes)
        return Encoded(bytes(data), notes)


def _is_all_nan(voxels: NDArray[Any]) -> bool:
    return voxels.dtype.kind == "f" and bool(np.isnan(voxels).all())
