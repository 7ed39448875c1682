"""TIFF and BigTIFF images: grey and RGB pages in strips or tiles.

The module keeps the contract `medprotect.imaging.image.ImageFormat`. What it changes besides the
pixels is `DOCUMENTED_CHANGES`, explained in ``docs/reference/png-tiff-jpeg.md``.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from medprotect import limits
from medprotect.errors import ImageTooLargeError, UnsupportedImageError
from medprotect.imaging.image import (
    Derivation,
    Description,
    Encoded,
    Image,
    ImageFile,
    Role,
    Stored,
    Traits,
)
from medprotect.imaging.raster import space, strips
from medprotect.imaging.raster.directories import SUB_IFDS, Directory, Structure
from medprotect.imaging.raster.strips import JPEG, JPEG_TABLES, NONE, Page
from medprotect.imaging.raster.tiff_changes import (
    DOCUMENTED_CHANGES,
    changed_elements,
    undocumented_changes,
)

__all__ = [
    "DOCUMENTED_CHANGES",
    "TiffFile",
    "changed_elements",
    "describe",
    "open_file",
    "undocumented_changes",
]

_NEW_SUBFILE_TYPE, _SUBFILE_TYPE = 254, 255
_REDUCED, _MASK = 1, 4
_JPEG_TAGS = frozenset({JPEG_TABLES, 529, 530, 531, 532})  # YCbCr..., ReferenceBlackWhite
_LAYERS = frozenset({37724})  # ImageSourceData: all layers of Photoshop
_STACKS = frozenset({33629, 34412})  # MetaMorph, LSM: planes that no directory tells of


def describe(stream: BinaryIO) -> Description:
    """Read all directories from a seekable stream, without decoding pixels.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        The file is rejected, with this reason.
    """
    stream.seek(0)
    return TiffFile(stream.read(limits.FILE_BYTES)).description


def open_file(data: bytes) -> ImageFile:
    """Open a TIFF file whose description has role ``IMAGE``.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        The file is rejected, with this reason.
    """
    return TiffFile(data)


class TiffFile:
    """One TIFF file.

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
        self._structure = structure = Structure(data)
        whole: list[Directory] = []
        reduced: list[Directory] = []
        for directory in structure.pages:
            (reduced if _is_reduced(structure, directory) else whole).append(directory)
        for directory in whole:
            reduced += _reduced_children(structure, directory)
        if not whole:
            raise UnsupportedImageError("a TIFF file of reduced images only")
        self._pages = [strips.read_page(structure, directory, len(data)) for directory in whole]
        self._reduced = [strips.read_page(structure, d, len(data)) for d in reduced]
        if sum(page.data_bytes for page in self._pages) > limits.DECODED_BYTES:
            raise ImageTooLargeError("more pixels than medprotect.limits allows")
        self._unreferenced = space.unreferenced(self._used(), len(data))
        space.check_unreferenced(data, self._unreferenced)

    def _used(self) -> list[tuple[int, int]]:
        """Return begin and end of all that is referred to; pixels must lie apart."""
        pixels = [
            (at, at + size)
            for page in (*self._pages, *self._reduced)
            for at, size in zip(page.offsets, page.sizes, strict=True)
        ]
        references = list(self._structure.references())
        space.check_apart(pixels, references)
        return pixels + references

    @property
    def description(self) -> Description:
        """What the directories say: of the first page, and how many there are."""
        page = self._pages[0]
        traits = Traits(
            format="tiff",
            photometric=page.photometric,
            channels=page.channels,
            bits_stored=page.dtype.itemsize * 8,
            signed=page.dtype.kind != "u",
            floating=page.dtype.kind == "f",
            rows=page.rows,
            columns=page.columns,
            images=len(self._pages),
            compression=strips.COMPRESSIONS[page.compression],
            lossy=any(page.compression == JPEG for page in self._pages),
        )
        return Description(Role.IMAGE, "tiff image", traits)

    def images(self) -> Iterator[Image]:
        """Decode the pages in order; where a page is fully transparent it is locked.

        Raises
        ------
        CorruptImageError
            A page cannot be decoded in full.
        """
        for page in self._pages:
            samples = self._decode(page)
            stored, alpha = _split(samples, page)
            kind = np.finfo(stored.dtype) if stored.dtype.kind == "f" else np.iinfo(stored.dtype)
            yield Image(
                stored=stored,
                lowest=float(kind.min),
                highest=float(kind.max),
                photometric=page.photometric,
                locked=_locked(stored, alpha),
            )

    def _decode(self, page: Page) -> NDArray[Any]:
        entry = page.directory.entries.get(JPEG_TABLES)
        tables = self._data[entry.value_at : entry.value_at + entry.size] if entry else b""
        return strips.decode_page(self._data, page, tables)

    def encode(self, changed: Sequence[Stored], derivation: Derivation) -> Encoded:
        """Return the file with other pixels; all tags stay but those that locate the pixels.

        Parameters
        ----------
        changed : sequence of Stored
            One array per page, in the order of `images`, same shapes and dtypes.
        derivation : Derivation
            Not stated in the file: its texts stay as they are.

        Raises
        ------
        ValueError
            Another number of arrays, another shape or dtype.
        """
        if len(changed) != len(self._pages):
            raise ValueError(f"{len(changed)} arrays for {len(self._pages)} pages")
        data = bytearray(self._data)
        notes = ["unreferenced_data_removed"] * space.blank(data, self._unreferenced)
        notes += space.blank_pictures(data, self._structure)
        free = self._clear_pixels(data)
        for page, stored in zip(self._pages, changed, strict=True):
            self._write(data, free, page, self._merge(page, stored))
        notes += self._remove_tags(data)
        if self._reduced:
            self._unlink(data)
            notes.append("reduced_resolution_page_removed")
        return Encoded(bytes(data), tuple(dict.fromkeys(notes)))

    def _clear_pixels(self, data: bytearray) -> space.FreeSpace:
        """Overwrite all pixels; return the room for new ones, except of those put in place."""
        free = space.FreeSpace(data)
        for page in (*self._pages, *self._reduced):
            for at, size in zip(page.offsets, page.sizes, strict=True):
                data[at : at + size] = bytes(size)
                if page.compression != NONE or page in self._reduced:
                    free.add(at, at + size)
        return free

    def _merge(self, page: Page, stored: Stored) -> NDArray[Any]:
        """Return the samples of a page, alpha included."""
        shape = (page.rows, page.columns, 3)[: 3 if page.channels == 3 else 2]
        if stored.shape != shape or stored.dtype != page.dtype.newbyteorder("="):
            raise ValueError(f"a page of {stored.shape} {stored.dtype}, not {shape}")
        if page.samples == page.channels:
            return stored
        samples = self._decode(page)
        _split(samples, page)[0][...] = stored
        return samples

    def _write(
        self, data: bytearray, free: space.FreeSpace, page: Page, samples: NDArray[Any]
    ) -> None:
        """Put a page's strips or tiles where there is room, and say where."""
        segments = strips.encode_segments(page, samples)
        if page.compression == NONE:
            for at, segment in zip(page.offsets, segments, strict=True):
                data[at : at + len(segment)] = segment
            return
        offsets, sizes = [], []
        for segment in segments:
            offsets.append(free.put(segment))
            sizes.append(len(segment))
        entries = page.directory.entries
        tags = (
            (strips.TILE_OFFSETS, strips.TILE_BYTES)
            if page.tiled
            else (strips.STRIP_OFFSETS, strips.STRIP_BYTES)
        )
        self._structure.put_integers(data, entries[tags[0]], offsets)
        self._structure.put_integers(data, entries[tags[1]], sizes)

    def _remove_tags(self, data: bytearray) -> list[str]:
        notes = []
        for page in self._pages:
            tags: frozenset[int] = frozenset()
            entries = page.directory.entries
            if page.compression == JPEG:
                tags |= _JPEG_TAGS
                self._structure.put_integers(data, entries[strips.COMPRESSION], [strips.DEFLATE])
                if page.is_ycbcr:
                    self._structure.put_integers(data, entries[strips.PHOTOMETRIC], [2])
                notes.append("promoted_to_lossless")
            if SUB_IFDS in entries:
                tags |= {SUB_IFDS}
            if _LAYERS & entries.keys():
                tags |= _LAYERS
                notes.append("picture_tag_removed")
            if tags & entries.keys():
                self._structure.remove_entries(data, page.directory, tags)
        return notes

    def _unlink(self, data: bytearray) -> None:
        """Take reduced pages out of the chain of directories, and overwrite their directories."""
        structure = self._structure
        kept = [page.directory for page in self._pages]
        pointer = 8 if structure.big else 4
        code = structure.order + structure.offset_code
        for directory in kept:
            struct.pack_into(code, data, pointer, directory.at)
            # Shorter directories end with zeros, the link among them, so it is written anew.
            pointer = _link_of(data, structure, directory)
        struct.pack_into(code, data, pointer, 0)
        for page in self._reduced:
            for child in page.directory.walk():
                data[child.at : child.end] = bytes(child.end - child.at)


def _link_of(data: bytearray, structure: Structure, directory: Directory) -> int:
    """Return where the link to the next directory lies now."""
    code, first, step = ("Q", 8, 20) if structure.big else ("H", 2, 12)
    (count,) = struct.unpack_from(structure.order + code, data, directory.at)
    return directory.at + first + step * int(count)


def _is_reduced(structure: Structure, directory: Directory) -> bool:
    new = structure.integers(directory.entries.get(_NEW_SUBFILE_TYPE)) or (0,)
    old = structure.integers(directory.entries.get(_SUBFILE_TYPE)) or (0,)
    if new[0] & _MASK or _STACKS & directory.entries.keys():
        raise UnsupportedImageError("a TIFF mask or microscope stack; save the images plainly")
    return bool(new[0] & _REDUCED) or old[0] == 2


def _reduced_children(structure: Structure, directory: Directory) -> list[Directory]:
    children = directory.children.get(SUB_IFDS, [])
    # Some writers chain them too, besides listing them.
    known = {0, *(child.at for child in children)}
    if not all(_is_reduced(structure, child) and child.next in known for child in children):
        raise UnsupportedImageError("full images in TIFF sub-directories; save them as pages")
    return children


def _split(samples: NDArray[Any], page: Page) -> tuple[Stored, NDArray[Any] | None]:
    """Return grey or RGB, a view, and alpha or None."""
    if page.samples == page.channels:
        return samples, None
    stored = samples[..., 0] if page.channels == 1 else samples[..., :3]
    return stored, samples[..., -1]


def _locked(stored: Stored, alpha: NDArray[Any] | None) -> NDArray[np.bool_] | None:
    locked = np.zeros(stored.shape[:2], bool) if alpha is None else np.asarray(alpha == 0)
    if stored.dtype.kind == "f":
        finite = np.isfinite(stored)
        locked |= ~(finite if finite.ndim == 2 else finite.all(-1))
    return locked if locked.any() else None
