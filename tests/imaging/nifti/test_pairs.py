"""NIfTI in two files: the header file stays byte for byte, the voxels are replaced."""

import gzip
import io
from typing import Any

import nibabel
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Extension

from medprotect.errors import (
    CorruptImageError,
    ImageTooLargeError,
    InputError,
    NotAnImageError,
    UnsupportedImageError,
)
from medprotect.imaging import formats, nifti
from medprotect.imaging.image import Pair, Role
from medprotect.imaging.second_reading import read_again

from ..protecting import DERIVATION, add_noise
from .test_nifti import RANDOM, put, volume


def make(
    voxels: np.ndarray[Any, Any], kind: Any = nibabel.Nifti1Pair, order: str = "<", **fields: Any
) -> Pair:
    """A pair as nibabel writes it."""
    header = kind.header_class(endianness=order)
    header.set_data_dtype(voxels.dtype)
    image = kind(voxels, np.diag([2.0, 3, 4, 1]), header)
    for name, value in fields.items():
        image.header[name] = value
    return written(image)


def written(image: Any) -> Pair:
    files = {name: io.BytesIO() for name in ("header", "image")}
    image.to_file_map({name: nibabel.FileHolder(fileobj=file) for name, file in files.items()})
    return Pair(files["header"].getvalue(), files["image"].getvalue())


def zipped(pair: Pair) -> Pair:
    return Pair(gzip.compress(pair.header, mtime=7), gzip.compress(pair.voxels, mtime=7))


def describe(pair: Pair, **options: bool) -> Any:
    return formats.describe(io.BytesIO(pair.header), io.BytesIO(pair.voxels), **options)


def protect(pair: Pair) -> Pair:
    file = formats.open_file(pair)
    changed = [add_noise(image, seed) for seed, image in enumerate(file.images())]
    encoded = file.encode(changed, DERIVATION)
    assert isinstance(encoded.data, Pair)
    for one, image in zip(changed, formats.open_file(encoded.data).images(), strict=True):
        np.testing.assert_array_equal(one, image.stored)
    assert nifti.undocumented_changes(pair, encoded.data) == []
    return encoded.data


class TestRoundTrip:
    @pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "f4", "f8"])
    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("kind", [nibabel.Nifti1Pair, nibabel.Nifti2Pair])
    def test_each_type_in_each_order_keeps_its_header_file(
        self, dtype: str, order: str, kind: Any
    ) -> None:
        pair = make(volume(dtype), kind, order)
        for one in (pair, zipped(pair)):
            found = protect(one)
            assert found.header == one.header
            assert found.voxels != one.voxels

    def test_unchanged_voxels_give_the_same_files(self) -> None:
        pair = make(volume("i2"))
        file = nifti.open_file(pair)
        same = [image.stored for image in file.images()]
        assert file.encode(same, DERIVATION).data == pair

    def test_nibabel_reads_what_was_meant(self) -> None:
        pair = make(volume("i2"), scl_slope=0.5, scl_inter=-3)
        found = protect(pair)
        seen = read_again(found, "nifti")
        assert seen is not None
        for image, other in zip(nifti.open_file(found).images(), seen, strict=True):
            np.testing.assert_array_equal(image.stored, other)
            assert (image.slope, image.intercept) == (0.5, -3)

    def test_extensions_of_the_header_file_stay(self) -> None:
        image = nibabel.Nifti1Pair(volume("i2"), np.eye(4))
        image.header.extensions.append(Nifti1Extension("comment", b"seen"))
        pair = written(image)
        assert len(pair.header) > 352
        assert protect(pair).header == pair.header

    def test_a_header_of_348_bytes_is_enough(self) -> None:
        pair = make(volume("i2"))
        short = Pair(pair.header[:348], pair.voxels)
        assert protect(short).header == short.header

    def test_the_gzip_header_of_the_voxels_stays(self) -> None:
        pair = zipped(make(volume("i2")))
        assert protect(pair).voxels[:10] == pair.voxels[:10]

    def test_empty_space_before_the_voxels_stays(self) -> None:
        pair = make(volume("i2"))
        moved = Pair(put(pair.header, 108, "<f", 64), bytes(64) + pair.voxels)
        assert protect(moved).voxels[:64] == bytes(64)


class TestDescription:
    def test_a_header_alone_says_how_its_voxels_are_called(self) -> None:
        found = formats.describe(io.BytesIO(make(volume("i2")).header))
        assert found.detached is not None
        assert found.detached.names_for("a.hdr") == ("a.img", "a.img.gz")
        assert found.detached.names_for("a.hdr.gz") == ("a.img", "a.img.gz")
        assert found.detached.names_for("A.HDR") == ("A.IMG", "A.IMG.GZ")
        assert found.detached.names_for("a.nii") == ()

    def test_with_its_voxels_it_is_as_in_one_file(self) -> None:
        voxels = volume("i2")
        pair = make(voxels)
        single = nibabel.Nifti1Image(voxels, np.eye(4)).to_bytes()
        assert describe(pair) == formats.describe(io.BytesIO(single))
        assert nifti.open_file(pair).description == describe(pair)

    def test_a_mask_is_a_mask_unless_that_is_not_asked(self) -> None:
        pair = make(RANDOM.integers(0, 2, (9, 8, 5)).astype("u1"))
        for one in (pair, zipped(pair)):
            assert describe(one).role is Role.OTHER
            assert describe(one, finds_masks=False).role is Role.IMAGE


class TestRefused:
    def test_a_header_alone_cannot_be_opened(self) -> None:
        with pytest.raises(UnsupportedImageError, match="another file"):
            formats.open_file(make(volume("i2")).header)

    def test_a_file_in_one_piece_has_no_other_file(self) -> None:
        with pytest.raises(NotAnImageError):
            formats.open_file(Pair(b"notes", bytes(99)))

    def test_a_clean_copy_behind_the_voxels_goes(self) -> None:
        pair = make(volume("i2"))
        doubled = Pair(pair.header, pair.voxels * 2)
        file = nifti.open_file(doubled)
        encoded = file.encode([image.stored for image in file.images()], DERIVATION)
        assert encoded.notes == ("trailing_data_removed",)
        assert encoded.data == pair
        assert nifti.undocumented_changes(doubled, pair) == []

    @pytest.mark.parametrize("at", [348, 352])
    def test_a_clean_copy_in_the_header_file_is_refused(self, at: int) -> None:
        pair = make(volume("i2"))
        hiding = Pair(pair.header[:at] + bytes(352 - at) + pair.voxels, pair.voxels)
        with pytest.raises(UnsupportedImageError, match="cut it off"):
            describe(hiding)
        with pytest.raises(UnsupportedImageError, match="cut it off"):
            nifti.open_file(hiding)

    def test_a_clean_copy_before_the_voxels_is_refused(self) -> None:
        pair = make(volume("i2"))
        size = len(pair.voxels)
        hiding = Pair(put(pair.header, 108, "<f", size), pair.voxels * 2)
        with pytest.raises(UnsupportedImageError, match="before the voxels"):
            nifti.open_file(hiding)
        with pytest.raises(UnsupportedImageError, match="before the voxels"):
            describe(hiding)

    def test_a_pair_cut_anywhere_is_rejected(self) -> None:
        plain = make(volume("i2", (9, 8, 2)))
        for pair in (plain, zipped(plain)):
            for end in range(4, len(pair.header)):
                if pair is plain and end >= 348:
                    break  # four empty bytes behind the header may go
                assert outcome(Pair(pair.header[:end], pair.voxels)) != "protected", end
            for end in range(len(pair.voxels)):
                assert outcome(Pair(pair.header, pair.voxels[:end])) != "protected", end
            assert outcome(pair) == "protected"

    def test_a_bomb_is_refused_within_the_limit(self) -> None:
        pair = make(volume("i2"))
        bomb = gzip.compress(pair.voxels + bytes(1 << 27))
        with pytest.raises(ImageTooLargeError):
            nifti.open_file(Pair(pair.header, bomb))
        with pytest.raises(ImageTooLargeError):
            describe(Pair(gzip.compress(pair.header + bytes(1 << 27)), pair.voxels))

    def test_a_header_that_promises_much_is_refused_at_once(self) -> None:
        pair = make(volume("i2"))
        head = put(pair.header, 40, "<4h", 3, 1000, 1000, 1000)
        with pytest.raises(CorruptImageError, match="fewer"):
            describe(Pair(head, pair.voxels))
        with pytest.raises(CorruptImageError, match="fewer"):
            nifti.open_file(Pair(head, gzip.compress(pair.voxels)))


class TestChanges:
    def test_what_differs_in_the_header_file_is_named(self) -> None:
        pair = make(volume("i2"))
        other = Pair(put(pair.header, 148, "<f", 7), pair.voxels)
        assert nifti.undocumented_changes(pair, other) == ["descrip"]
        longer = Pair(pair.header + bytes(4), pair.voxels)
        assert nifti.undocumented_changes(pair, longer) == ["extension"]

    def test_another_wrapping_of_the_header_is_named(self) -> None:
        pair = zipped(make(volume("i2")))
        plain = gzip.decompress(pair.header)
        other = Pair(gzip.compress(plain, mtime=8), pair.voxels)
        assert nifti.undocumented_changes(pair, other) == ["HeaderFile"]

    def test_data_before_or_behind_the_voxels_is_named(self) -> None:
        pair = make(volume("i2"))
        other = Pair(pair.header, pair.voxels + b"x")
        assert nifti.undocumented_changes(pair, other) == ["TrailingData"]
        assert "size" in nifti.undocumented_changes(pair, Pair(pair.header, pair.voxels[:-1]))


def outcome(pair: Pair) -> str:
    try:
        if formats.describe(io.BytesIO(pair.header)).detached is None:
            return "other"
        if describe(pair).role is Role.OTHER:
            return "other"
        protect(pair)
    except InputError as error:
        return error.slug
    return "protected"
