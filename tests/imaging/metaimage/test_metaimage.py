"""MetaImage: the header's text stays, in one file or two, raw or compressed."""

import io
import re
import zlib

import numpy as np
import pytest

from medprotect.errors import (
    CorruptImageError,
    ImageTooLargeError,
    InputError,
    NotAnImageError,
    UnsupportedImageError,
)
from medprotect.imaging import formats
from medprotect.imaging.image import Content, Pair, Role

from ..contents import (
    blocks,
    changes,
    check,
    describe,
    outcome,
    planes,
    undocumented,
    volume,
    write,
)
from ..protecting import DERIVATION

VOXELS = volume()


def head_of(data: Content) -> bytes:
    if isinstance(data, Pair):
        return data.header
    return data[: data.index(b"LOCAL\n") + 6]


def by_hand(*lines: str, body: bytes = b"", order: str = "<") -> bytes:
    """A file of the volume above, with other lines where these have the same key."""
    told = dict(line.split(" = ", 1) for line in lines)
    stated = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": str(order == ">"),
        "DimSize": "9 8 5",
        "ElementType": "MET_SHORT",
        **told,
        "ElementDataFile": told.get("ElementDataFile", "LOCAL"),
    }
    stated["ElementDataFile"] = stated.pop("ElementDataFile")
    text = "".join(f"{key} = {value}\n" for key, value in stated.items() if value)
    return text.encode() + (body or VOXELS.astype(f"{order}i2").tobytes())


class TestRoundTrip:
    @pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"])
    @pytest.mark.parametrize("ending", ["mha", "mhd"])
    @pytest.mark.parametrize("compressed", [False, True])
    def test_each_type_as_itk_writes_it(self, dtype: str, ending: str, compressed: bool) -> None:
        voxels = volume(dtype)
        data = write(f"a.{ending}", voxels, compressed=compressed)
        assert isinstance(data, Pair) == (ending == "mhd")
        np.testing.assert_array_equal(np.stack(planes(data)), voxels)
        found = check(data)
        texts = [re.sub(rb"DataSize = \d+", b"DataSize", head_of(each)) for each in (data, found)]
        assert texts[0] == texts[1]
        assert (head_of(data) == head_of(found)) or compressed

    @pytest.mark.parametrize("ending", ["mha", "mhd"])
    def test_the_size_of_compressed_voxels_is_stated_as_it_is(self, ending: str) -> None:
        data = write(f"a.{ending}", np.zeros((5, 8, 9), np.int16) + VOXELS // 100, compressed=True)
        found = check(data)
        assert changes(data, found) == {"CompressedDataSize"}
        (size,) = re.findall(rb"CompressedDataSize = (\d+)", head_of(found))
        body = found.voxels if isinstance(found, Pair) else found[len(head_of(found)) :]
        assert int(size) == len(body)

    def test_unchanged_voxels_give_the_same_file(self) -> None:
        for ending in ("mha", "mhd"):
            data = write(f"a.{ending}", VOXELS)
            file = formats.open_file(data)
            assert file.encode(planes(data), DERIVATION).data == data

    @pytest.mark.parametrize("order", ["<", ">"])
    def test_both_byte_orders_and_any_other_line_stay(self, order: str) -> None:
        data = by_hand("Comment = a = b", "Seen By = \xfe", "ElementMax = 900", order=order)
        np.testing.assert_array_equal(np.stack(planes(data)), VOXELS)
        found = check(data)
        assert isinstance(found, bytes)
        assert found[: len(found) - 720] == data[: len(data) - 720]

    def test_lines_may_end_as_on_windows(self) -> None:
        text, body = by_hand()[:-720], by_hand()[-720:]
        data = text.replace(b"\n", b"\r\n") + body
        np.testing.assert_array_equal(np.stack(planes(data)), VOXELS)
        check(data)

    def test_compressed_voxels_of_no_stated_size_stay_so(self) -> None:
        data = by_hand("CompressedData = True", body=zlib.compress(VOXELS.tobytes()))
        assert changes(data, check(data)) == set()

    def test_four_axes_are_volumes_of_slices(self) -> None:
        voxels = volume("i2", (3, 5, 8, 9))
        data = by_hand("NDims = 4", "DimSize = 9 8 5 3", body=voxels.tobytes())
        np.testing.assert_array_equal(np.stack(planes(data)), voxels.reshape(15, 8, 9))
        check(data)

    def test_what_itk_makes_nothing_of_does_not_matter(self) -> None:
        """Lines that the voxels do not depend on."""
        check(by_hand("Offset = x", "ElementSpacing = 1", "Modality = "))

    def test_a_scaling_is_slope_and_intercept(self) -> None:
        data = by_hand(
            "ElementToIntensityFunctionSlope = 0.5", "ElementToIntensityFunctionOffset = -7"
        )
        image = next(formats.open_file(data).images())
        assert (image.slope, image.intercept) == (0.5, -7)


class TestDescription:
    def test_a_header_of_voxels_elsewhere_names_their_file(self) -> None:
        data = write("a.mhd", VOXELS)
        assert isinstance(data, Pair)
        found = formats.describe(io.BytesIO(data.header)).detached
        assert found is not None
        assert found.names_for("b.mhd") == ("a.raw",)

    @pytest.mark.parametrize("ending", ["mha", "mhd"])
    @pytest.mark.parametrize("compressed", [False, True])
    def test_masks_are_known(self, ending: str, compressed: bool) -> None:
        data = write(f"a.{ending}", blocks(), compressed=compressed)
        assert describe(data).role is Role.OTHER
        assert describe(data, finds_masks=False).role is Role.IMAGE
        assert describe(write(f"a.{ending}", VOXELS, compressed=compressed)).role is Role.IMAGE


class TestRefused:
    @pytest.mark.parametrize(
        ("line", "error", "words"),
        [
            ("ElementNumberOfChannels = 3", UnsupportedImageError, "scalars"),
            ("ElementType = MET_SHORT_ARRAY", UnsupportedImageError, "vector"),
            ("ElementType = MET_LONG_LONG", UnsupportedImageError, "64-bit"),
            ("ElementType = MET_LONG", UnsupportedImageError, "same on all systems"),
            ("ElementType = MET_OTHER", CorruptImageError, "data type"),
            ("BinaryData = False", UnsupportedImageError, "text"),
            ("ElementDataFile = LIST", UnsupportedImageError, "many files"),
            ("ElementDataFile = a%03d.raw 1 5 1", UnsupportedImageError, "many files"),
            ("ElementDataFile = ../a.raw", UnsupportedImageError, "folder"),
            ("ElementDataFile = /etc/passwd", UnsupportedImageError, "folder"),
            ("HeaderSize = 128", UnsupportedImageError, "another format"),
            ("HeaderSize = -1", UnsupportedImageError, "another format"),
            ("ObjectType = Tube", NotAnImageError, "no image"),
            ("NDims = 2", CorruptImageError, "dimensions"),
            ("DimSize = 9 8 0", CorruptImageError, "dimensions"),
            ("DimSize = 9 8 x", CorruptImageError, "whole number"),
            ("DimSize = 9 8 6", CorruptImageError, "fewer"),
            ("DimSize = 360 1 1", NotAnImageError, "list"),
            ("DimSize = 70000 70000 9", ImageTooLargeError, "limits"),
            ("BinaryDataByteOrderMSB = perhaps", CorruptImageError, "true nor false"),
            ("ElementByteOrderMSB = True", CorruptImageError, "two byte orders"),
            ("ElementToIntensityFunctionSlope = 0", CorruptImageError, "scaling"),
            ("ElementToIntensityFunctionOffset = nan", CorruptImageError, "scaling"),
            (
                "Comment = /9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgH",
                UnsupportedImageError,
                "pic",
            ),
        ],
    )
    def test_what_is_not_protected_is_refused_with_a_reason(
        self, line: str, error: type[InputError], words: str
    ) -> None:
        data = by_hand(line)
        with pytest.raises(error, match=words):
            describe(data)
        with pytest.raises(error, match=words):
            formats.open_file(data)

    def test_a_key_that_comes_twice_is_refused(self) -> None:
        data = b"ObjectType = Image\nDimSize = 4 4 4\n" + by_hand().partition(b"\n")[2]
        with pytest.raises(CorruptImageError, match="twice"):
            describe(data)

    def test_a_clean_copy_behind_the_voxels_goes(self) -> None:
        data = by_hand()
        doubled = data + VOXELS.tobytes()
        assert changes(doubled, check(doubled)) == {"TrailingData"}
        padded = data + bytes(100)
        found = check(padded)
        assert isinstance(found, bytes)
        assert found.endswith(bytes(100))

    def test_data_behind_compressed_voxels_is_refused(self) -> None:
        packed = zlib.compress(VOXELS.tobytes())
        for body in (packed + b"x", zlib.compress(VOXELS.tobytes() * 2)):
            with pytest.raises(UnsupportedImageError, match="follows"):
                formats.open_file(by_hand("CompressedData = True", body=body))

    def test_a_wrong_size_of_compressed_voxels_is_refused(self) -> None:
        lines = "CompressedData = True", "CompressedDataSize = 5"
        data = by_hand(*lines, body=zlib.compress(VOXELS.tobytes()))
        with pytest.raises(CorruptImageError, match="as long"):
            formats.open_file(data)

    @pytest.mark.parametrize("gap", [0, 1 << 21])
    def test_a_clean_copy_in_the_header_file_is_refused(self, gap: int) -> None:
        data = write("a.mhd", VOXELS)
        assert isinstance(data, Pair)
        hiding = Pair(data.header + bytes(gap) + data.voxels, data.voxels)
        with pytest.raises(UnsupportedImageError, match="cut it off"):
            describe(hiding)
        with pytest.raises(UnsupportedImageError, match="cut it off"):
            formats.open_file(hiding)

    @pytest.mark.parametrize("compressed", [False, True])
    def test_header_or_voxels_cut_anywhere_are_rejected(self, compressed: bool) -> None:
        data = write("a.mhd", volume("i2", (2, 8, 9)), compressed=compressed)
        assert isinstance(data, Pair)
        assert outcome(data) == "protected"
        for end in range(len(data.voxels)):
            assert outcome(Pair(data.header, data.voxels[:end])) == "corrupt", end
        name = data.header.rindex(b"= ") + 3
        for end in range(19, name):
            assert outcome(Pair(data.header[:end], data.voxels)) == "corrupt", end


class TestChanges:
    @pytest.mark.parametrize(
        ("old", "new", "name"),
        [
            (b"Offset = 0", b"Offset = 1", "Offset"),
            (b"Orientation = RAI", b"Orientation = LPS", "AnatomicalOrientation"),
            (b"CompressedData = False", b"CompressedData = false", "CompressedData"),
        ],
    )
    def test_a_changed_line_is_named(self, old: bytes, new: bytes, name: str) -> None:
        data = write("a.mhd", VOXELS)
        assert isinstance(data, Pair)
        assert old in data.header
        other = Pair(data.header.replace(old, new), data.voxels)
        assert undocumented(data, other) == [name]

    def test_what_a_file_says_of_its_own_is_not_told(self) -> None:
        data, other = by_hand("Anna Muster = 1"), by_hand("Anna Muster = 2")
        assert undocumented(data, other) == ["header"]

    def test_a_wrong_or_reformatted_size_is_undocumented(self) -> None:
        data = write("a.mhd", VOXELS, compressed=True)
        assert isinstance(data, Pair)
        for new in (rb"CompressedDataSize = 7", rb"CompressedDataSize =  \1"):
            header = re.sub(rb"CompressedDataSize = (\d+)", new, data.header)
            assert undocumented(data, Pair(header, data.voxels)) == ["CompressedDataSize"]

    def test_data_that_came_or_went_is_named(self) -> None:
        data = by_hand()
        assert undocumented(data, data + b"x") == ["TrailingData"]
        assert undocumented(data, data[:-1]) == ["size"]


def test_mutations_never_end_in_another_error() -> None:
    random = np.random.default_rng(1)
    for data in (by_hand(), write("a.mha", VOXELS, compressed=True)):
        assert isinstance(data, bytes)
        for _ in range(400):
            changed = bytearray(data)
            for at in (random.random(3) ** 3 * len(data)).astype(int):
                changed[at] = random.integers(256)
            outcome(bytes(changed))
