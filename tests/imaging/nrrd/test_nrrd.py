"""NRRD: the header's text stays, in one file or two, in every encoding that is binary."""

import bz2
import gzip
import io

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
PACK = {"raw": bytes, "gzip": gzip.compress, "bzip2": bz2.compress}


def by_hand(*lines: str, body: bytes | None = None, order: str = "<", end: str = "\n") -> bytes:
    """A file of the volume above, with other lines where these are of the same field."""
    told = dict(line.split(": ", 1) for line in lines)
    stated = {
        "type": "short",
        "dimension": "3",
        "sizes": "9 8 5",
        "kinds": "domain domain domain",
        "endian": "big" if order == ">" else "little",
        "encoding": "raw",
        **told,
    }
    fields = [f"{field}: {text}" for field, text in stated.items() if text]
    text = end.join(["NRRD0005", "# seen", *fields, "note:=a: b", "", ""])
    return text.encode() + (VOXELS.astype(f"{order}i2").tobytes() if body is None else body)


def text_of(data: Content) -> bytes:
    return data.header if isinstance(data, Pair) else data[: data.index(b"\n\n") + 2]


class TestRoundTrip:
    @pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"])
    @pytest.mark.parametrize("ending", ["nrrd", "nhdr"])
    @pytest.mark.parametrize("compressed", [False, True])
    def test_each_type_as_itk_writes_it(self, dtype: str, ending: str, compressed: bool) -> None:
        voxels = volume(dtype)
        data = write(f"a.{ending}", voxels, compressed=compressed)
        assert isinstance(data, Pair) == (ending == "nhdr")
        np.testing.assert_array_equal(np.stack(planes(data)), voxels)
        found = check(data)
        assert text_of(found) == text_of(data)
        assert changes(data, found) == set()

    @pytest.mark.parametrize("encoding", PACK)
    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_each_encoding_order_and_end_of_line(self, encoding: str, order: str, end: str) -> None:
        body = PACK[encoding](VOXELS.astype(f"{order}i2").tobytes())
        data = by_hand(f"encoding: {encoding}", body=body, order=order, end=end)
        np.testing.assert_array_equal(np.stack(planes(data)), VOXELS)
        found = check(data)
        assert isinstance(found, bytes)
        assert found.startswith(data[: len(data) - len(body)])

    @pytest.mark.parametrize("encoding", PACK)
    def test_unchanged_voxels_give_the_same_voxels(self, encoding: str) -> None:
        data = by_hand(f"encoding: {encoding}", body=PACK[encoding](VOXELS.tobytes()))
        found = formats.open_file(data).encode(planes(data), DERIVATION).data
        np.testing.assert_array_equal(np.stack(planes(found)), VOXELS)
        assert found == data or encoding == "gzip"

    def test_a_header_file_may_end_without_an_empty_line(self) -> None:
        data = Pair(by_hand("data file: a.raw", body=b"").rstrip(b"\n"), VOXELS.tobytes())
        assert describe(data).role is Role.IMAGE
        found = check(data)
        assert isinstance(found, Pair)
        assert found.header == data.header

    @pytest.mark.parametrize("skip", [64, -1])
    def test_empty_space_before_the_voxels_stays(self, skip: int) -> None:
        data = by_hand(f"byte skip: {skip}", body=bytes(64) + VOXELS.tobytes())
        found = check(data)
        assert isinstance(found, bytes)
        assert found[: len(data) - 720] == data[: len(data) - 720]

    def test_the_gzip_header_of_the_voxels_stays(self) -> None:
        packed = gzip.compress(VOXELS.tobytes(), mtime=1234567)
        found = check(by_hand("encoding: gz", body=packed))
        assert isinstance(found, bytes)
        assert packed[:10] in found


class TestAxes:
    def test_gradients_on_the_fastest_axis_are_images(self) -> None:
        """As diffusion series are written: (gradient, x, y, z)."""
        voxels = volume("i2", (5, 8, 9, 7))
        for kinds, note in (("list domain domain domain", ""), ("vector space space space", "D")):
            data = by_hand("dimension: 4", "sizes: 7 9 8 5", f"kinds: {kinds}", body=b"")
            data = data.replace(b"note:=a: b", b"modality:=DWMRI") if note else data
            data += voxels.tobytes()
            expected = voxels.transpose(0, 3, 1, 2).reshape(35, 8, 9)
            np.testing.assert_array_equal(np.stack(planes(data)), expected)
            check(data, twice=False)

    def test_an_axis_without_direction_is_none_of_space(self) -> None:
        voxels = volume("i2", (5, 8, 9, 7))
        lines = "dimension: 4", "sizes: 7 9 8 5", "kinds: ", "space directions: none (1) (1) (1)"
        data = by_hand(*lines, body=voxels.tobytes())
        assert planes(data)[0].shape == (8, 9)

    def test_time_on_the_slowest_axis_are_images(self) -> None:
        voxels = volume("i2", (3, 5, 8, 9))
        data = by_hand(
            "dimension: 4", "sizes: 9 8 5 3", "kinds: space space space time", body=voxels.tobytes()
        )
        np.testing.assert_array_equal(np.stack(planes(data)), voxels.reshape(15, 8, 9))
        check(data)

    def test_what_itk_makes_nothing_of_does_not_matter(self) -> None:
        """Lines that the voxels do not depend on."""
        check(
            by_hand(
                "space origin: nowhere",
                "space directions: (1)",
                "measurement frame: x",
                "byte skip: 0",
            )
        )

    @pytest.mark.parametrize(
        "kind", ["RGB-color", "RGBA-color", "vector", "covariant-vector", "complex", "3D-matrix"]
    )
    def test_colours_and_vectors_are_refused(self, kind: str) -> None:
        data = by_hand("sizes: 3 8 15", f"kinds: {kind} domain domain")
        with pytest.raises(UnsupportedImageError, match="scalars"):
            describe(data)

    def test_what_may_be_colours_is_refused(self) -> None:
        with pytest.raises(UnsupportedImageError, match="may be one of colours"):
            describe(by_hand("sizes: 3 8 15", "kinds: "))
        describe(by_hand("sizes: 3 8 15"))


class TestDescription:
    def test_a_header_of_voxels_elsewhere_names_their_file(self) -> None:
        data = by_hand("datafile: a b.raw", body=b"")
        found = formats.describe(io.BytesIO(data)).detached
        assert found is not None
        assert found.names_for("x.nhdr") == ("a b.raw",)

    @pytest.mark.parametrize("ending", ["nrrd", "nhdr"])
    @pytest.mark.parametrize("compressed", [False, True])
    def test_masks_are_known(self, ending: str, compressed: bool) -> None:
        data = write(f"a.{ending}", blocks(), compressed=compressed)
        assert describe(data).role is Role.OTHER
        assert describe(data, finds_masks=False).role is Role.IMAGE

    @pytest.mark.parametrize("encoding", PACK)
    def test_an_image_behind_the_empty_planes_that_its_header_states_is_no_mask(
        self, encoding: str
    ) -> None:
        body = PACK[encoding](bytes(720) + VOXELS.tobytes())
        with pytest.raises(UnsupportedImageError, match="follows"):
            describe(by_hand(f"encoding: {encoding}", body=body))

    def test_what_says_that_it_is_segments_is_a_label_map(self) -> None:
        data = by_hand().replace(b"note:=a: b", b"Segment0_ID:=Segment_1")
        assert describe(data).role is Role.OTHER


class TestRefused:
    @pytest.mark.parametrize(
        ("line", "error", "words"),
        [
            ("type: block", UnsupportedImageError, "number type"),
            ("type: long long", UnsupportedImageError, "64-bit"),
            ("type: uint64", UnsupportedImageError, "64-bit"),
            ("type: other", CorruptImageError, "data type"),
            ("encoding: ascii", UnsupportedImageError, "text"),
            ("encoding: hex", UnsupportedImageError, "text"),
            ("encoding: other", CorruptImageError, "encoding"),
            ("endian: ", CorruptImageError, "byte order"),
            ("data file: LIST", UnsupportedImageError, "many files"),
            ("data file: a%03d.raw 1 5 1", UnsupportedImageError, "many files"),
            ("data file: sub/a.raw", UnsupportedImageError, "folder"),
            ("data file: ..", UnsupportedImageError, "folder"),
            ("line skip: 3", UnsupportedImageError, "another format"),
            ("byte skip: -5", CorruptImageError, "impossible place"),
            ("byte skip: 1", CorruptImageError, "fewer"),
            ("dimension: 2", CorruptImageError, "dimensions"),
            ("sizes: 9 8 0", CorruptImageError, "dimensions"),
            ("sizes: 9 8 x", CorruptImageError, "whole number"),
            ("sizes: 9 8 6", CorruptImageError, "fewer"),
            ("sizes: 360 1 1", NotAnImageError, "list"),
            ("sizes: 70000 70000 9", ImageTooLargeError, "limits"),
            ("kinds: domain domain", CorruptImageError, "kinds"),
            (f"content: /9j/4{'A' * 40}", UnsupportedImageError, "picture"),
        ],
    )
    def test_what_is_not_protected_is_refused_with_a_reason(
        self, line: str, error: type[InputError], words: str
    ) -> None:
        body = b"" if line.startswith("data file") else None
        data = by_hand(line, body=body)
        with pytest.raises(error, match=words):
            describe(data)
        with pytest.raises(error, match=words):
            formats.open_file(data)

    def test_a_field_that_comes_twice_is_refused(self) -> None:
        with pytest.raises(CorruptImageError, match="twice"):
            describe(by_hand().replace(b"note:=a: b", b"sizes: 4 4 4"))

    @pytest.mark.parametrize("skip", [720, -1])
    def test_a_clean_copy_before_the_voxels_is_refused(self, skip: int) -> None:
        data = by_hand(f"byte skip: {skip}", body=VOXELS.tobytes() * 2)
        with pytest.raises(UnsupportedImageError, match="before the voxels"):
            describe(data)
        with pytest.raises(UnsupportedImageError, match="before the voxels"):
            formats.open_file(data)

    def test_a_clean_copy_behind_the_voxels_goes_or_is_refused(self) -> None:
        doubled = by_hand() + VOXELS.tobytes()
        assert changes(doubled, check(doubled)) == {"TrailingData"}
        for encoding in ("gzip", "bzip2"):
            body = PACK[encoding](VOXELS.tobytes() * 2)
            with pytest.raises(UnsupportedImageError, match="follows"):
                formats.open_file(by_hand(f"encoding: {encoding}", body=body))

    def test_a_clean_copy_in_the_header_file_is_refused(self) -> None:
        data = Pair(by_hand("data file: a.raw"), VOXELS.tobytes())
        with pytest.raises(UnsupportedImageError, match="cut it off"):
            describe(data)
        with pytest.raises(UnsupportedImageError, match="cut it off"):
            formats.open_file(data)

    @pytest.mark.parametrize("encoding", PACK)
    def test_header_or_voxels_cut_anywhere_are_rejected(self, encoding: str) -> None:
        text = by_hand("data file: voxels.raw", f"encoding: {encoding}", body=b"")
        data = Pair(text.replace(b"note:=a: b\n\n", b""), PACK[encoding](VOXELS.tobytes()))
        assert outcome(data) == "protected"
        for end in range(len(data.voxels)):
            assert outcome(Pair(data.header, data.voxels[:end])) == "corrupt", end
        whole = data.header.index(b"data file") + len("data file: ")
        for end in range(5, whole):
            assert outcome(Pair(data.header[:end], data.voxels)) != "protected", end


class TestChanges:
    def test_a_changed_line_is_named(self) -> None:
        data = by_hand("content: one")
        assert undocumented(data, by_hand("content: two")) == ["content"]
        assert undocumented(data, data.replace(b"note:=a", b"note:=b")) == ["header"]
        assert undocumented(data, data.replace(b"# seen", b"# Muster: x")) == ["header"]

    def test_data_that_came_or_went_is_named(self) -> None:
        data = by_hand()
        assert undocumented(data, data + b"x") == ["TrailingData"]
        assert undocumented(data, data[:-1]) == ["size"]


def test_mutations_never_end_in_another_error() -> None:
    random = np.random.default_rng(1)
    for encoding, pack in PACK.items():
        data = by_hand(f"encoding: {encoding}", body=pack(VOXELS.tobytes()))
        for _ in range(400):
            changed = bytearray(data)
            for at in (random.random(3) ** 3 * len(data)).astype(int):
                changed[at] = random.integers(256)
            outcome(bytes(changed))
