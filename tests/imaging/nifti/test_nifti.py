"""NIfTI: every byte but the voxels stays, whatever the type, order, scaling or extension."""

import gzip
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Extension
from skimage.data import camera

from medprotect.errors import (
    CorruptImageError,
    ImageTooLargeError,
    InputError,
    NotAnImageError,
    UnsupportedImageError,
)
from medprotect.imaging import formats, nifti
from medprotect.imaging.image import Role, Window

from ..protecting import DERIVATION, changes, check, outcome, protect, stored, undocumented

NIBABEL = Path(nibabel.__file__).parent / "tests" / "data"
IMAGES = [
    *("anatomical.nii", "functional.nii", "example4d.nii.gz", "example_nifti2.nii.gz"),
    *("reoriented_anat_moved.nii", "resampled_anat_moved.nii"),
]
RANDOM = np.random.default_rng(7)


def volume(dtype: str, shape: tuple[int, ...] = (9, 8, 5)) -> np.ndarray[Any, Any]:
    kind = np.dtype(dtype).kind
    if kind == "f":
        return RANDOM.normal(0, 100, shape).astype(dtype)
    limits = np.iinfo(dtype)
    low, high = max(limits.min, -3000), min(limits.max, 3000)
    return RANDOM.integers(low, high, shape, endpoint=True).astype(dtype)


def make(
    voxels: np.ndarray[Any, Any], order: str = "<", kind: Any = nibabel.Nifti1Image, **fields: Any
) -> bytes:
    header = kind.header_class(endianness=order)
    header.set_data_dtype(voxels.dtype)
    image = kind(voxels, np.diag([2.0, 3, 4, 1]), header)
    for name, value in fields.items():
        image.header[name] = value
    return bytes(image.to_bytes())


def put(data: bytes, at: int, code: str, *values: float) -> bytes:
    """Overwrite a header field."""
    changed = bytearray(data)
    struct.pack_into(code, changed, at, *values)
    return bytes(changed)


class TestRealFiles:
    @pytest.mark.parametrize("name", IMAGES)
    def test_voxels_change_exactly_and_nothing_else(self, name: str) -> None:
        data = (NIBABEL / name).read_bytes()
        encoded = check(data)
        assert encoded.notes == ()
        assert changes(data, encoded.data) == set()

    @pytest.mark.parametrize("name", [name for name in IMAGES if not name.endswith(".gz")])
    def test_unchanged_voxels_give_the_same_file(self, name: str) -> None:
        data = (NIBABEL / name).read_bytes()
        assert nifti.open_file(data).encode(stored(data), DERIVATION).data == data

    @pytest.mark.parametrize("name", IMAGES)
    def test_nibabel_reads_what_was_meant(self, name: str) -> None:
        """Affine, scaling and every voxel, as another reader sees them."""
        data = (NIBABEL / name).read_bytes()
        changed, encoded = protect(data)
        raw = gzip.decompress(encoded.data) if name.endswith(".gz") else encoded.data
        before = nibabel.load(NIBABEL / name)
        after = type(before).from_bytes(raw)
        np.testing.assert_array_equal(after.affine, before.affine)
        assert after.dataobj.slope == before.dataobj.slope
        assert after.dataobj.inter == before.dataobj.inter
        voxels = after.dataobj.get_unscaled()
        planes = voxels.reshape(*voxels.shape[:2], -1, order="F")
        for index, plane in enumerate(changed):
            np.testing.assert_array_equal(planes[..., index].T, plane)


class TestTypes:
    @pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
    def test_each_type_in_each_order_is_written_as_it_was(
        self, dtype: str, order: str, kind: Any
    ) -> None:
        data = make(volume(dtype), order, kind)
        encoded = check(data)
        offset = 352 if kind is nibabel.Nifti1Image else 544
        assert encoded.data[:offset] == data[:offset]
        assert len(encoded.data) == len(data)
        assert stored(data)[0].dtype == np.dtype(dtype)

    @pytest.mark.parametrize("dtype", ["i8", "u8", "c8", "c16"])
    def test_types_that_are_not_protected_are_refused_with_a_reason(self, dtype: str) -> None:
        voxels = RANDOM.normal(0, 9, (4, 4, 4)).astype(dtype)
        image = nibabel.Nifti1Image(voxels, np.eye(4), dtype=np.dtype(dtype))
        with pytest.raises(UnsupportedImageError, match=r"voxels|integers"):
            nifti.open_file(image.to_bytes())

    def test_rgb_is_refused(self) -> None:
        voxels = np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
        with pytest.raises(UnsupportedImageError, match="RGB"):
            nifti.open_file(nibabel.Nifti1Image(voxels, np.eye(4)).to_bytes())

    def test_voxels_that_are_no_numbers_are_locked(self) -> None:
        voxels = volume("f4")
        voxels[2, 3, 1], voxels[4, 5, 1] = np.nan, np.inf
        data = make(voxels)
        check(data)
        images = list(nifti.open_file(data).images())
        assert images[0].locked is None
        assert images[1].locked is not None
        assert [tuple(at) for at in np.argwhere(images[1].locked)] == [(3, 2), (5, 4)]


class TestShapes:
    @pytest.mark.parametrize(
        ("shape", "expected"),
        [
            ((9, 8), (1, 8, 9)),
            ((9, 8, 5), (5, 8, 9)),
            ((9, 8, 5, 3), (15, 8, 9)),
            ((9, 8, 1, 3), (3, 8, 9)),
            ((1, 9, 8), (1, 8, 9)),
            ((9, 8, 2, 1, 3, 2), (12, 8, 9)),
        ],
    )
    def test_each_plane_is_an_image(
        self, shape: tuple[int, ...], expected: tuple[int, int, int]
    ) -> None:
        voxels = volume("i2", shape)
        data = make(voxels)
        check(data)
        planes = voxels.reshape(expected[::-1], order="F")
        found = stored(data)
        assert len(found) == expected[0]
        for index, plane in enumerate(found):
            np.testing.assert_array_equal(plane, planes[..., index].T)

    @pytest.mark.parametrize("shape", [(50,), (1, 1, 50), (50, 1, 1, 1)])
    def test_a_list_of_values_is_no_image(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(NotAnImageError, match="list"):
            nifti.describe(io.BytesIO(make(volume("i2", shape))))

    def test_values_on_surfaces_are_no_image(self) -> None:
        with pytest.raises(NotAnImageError, match="CIFTI"):
            nifti.describe(io.BytesIO((NIBABEL / "row_major.dconn.nii").read_bytes()))


class TestMeaning:
    def test_slope_and_intercept_are_as_stated(self) -> None:
        data = make(volume("i2"), scl_slope=0.5, scl_inter=-7)
        image = next(nifti.open_file(data).images())
        assert (image.slope, image.intercept) == (0.5, -7)
        assert check(data).data[112:120] == data[112:120]

    @pytest.mark.parametrize("slope", [0.0, float("nan"), float("inf")])
    def test_no_slope_is_no_scaling_and_stays_in_the_file(self, slope: float) -> None:
        data = put(make(volume("i2")), 112, "<2f", slope, 9)
        image = next(nifti.open_file(data).images())
        assert (image.slope, image.intercept) == (1, 0)
        assert check(data).data[112:120] == data[112:120]

    def test_the_display_range_is_a_window(self) -> None:
        image = next(nifti.open_file(make(volume("i2"), cal_min=10, cal_max=50)).images())
        assert image.windows == (Window(30, 40, "LINEAR_EXACT"),)

    @pytest.mark.parametrize(
        "ends", [(0, 0), (50, 10), (float("nan"), 50), (-9000, -8000), (0, float("inf"))]
    )
    def test_a_display_range_that_shows_nothing_is_none(self, ends: tuple[float, float]) -> None:
        data = make(volume("i2"), cal_min=ends[0], cal_max=ends[1])
        assert next(nifti.open_file(data).images()).windows == ()

    def test_no_modality_is_guessed(self) -> None:
        description = nifti.describe(io.BytesIO(make(volume("i2") - 1000)))
        assert description.traits is not None
        assert description.traits.modality == ""

    @pytest.mark.parametrize(("intent", "expected"), [(0, False), (3, True), (1007, True)])
    def test_statistics_and_vectors_are_measurements(self, intent: int, expected: bool) -> None:
        description = nifti.describe(io.BytesIO(make(volume("f4"), intent_code=intent)))
        assert description.traits is not None
        assert description.traits.quantitative is expected


class TestLabelMaps:
    def role(self, voxels: np.ndarray[Any, Any], **fields: Any) -> Role:
        data = make(voxels, **fields)
        zipped = gzip.compress(data, mtime=0)
        roles = {nifti.describe(io.BytesIO(one)).role for one in (data, zipped)}
        assert len(roles) == 1
        return roles.pop()

    def blocks(self, count: int, dtype: str) -> np.ndarray[Any, Any]:
        """`count` labels, in cubes."""
        corners = RANDOM.integers(0, count, (8, 8, 8))
        return np.kron(corners, np.ones((6, 6, 6))).astype(dtype)

    @pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4", "f8"])
    @pytest.mark.parametrize("count", [2, 3, 20, 117])
    def test_masks_and_label_maps_are_no_images(self, dtype: str, count: int) -> None:
        assert self.role(self.blocks(count, dtype)) is Role.OTHER

    def test_a_mask_of_any_one_value_is_a_mask(self) -> None:
        assert self.role(self.blocks(2, "i2") * 257) is Role.OTHER

    def test_what_says_that_it_is_labels_is_labels(self) -> None:
        assert self.role(volume("i2"), intent_code=1002) is Role.OTHER

    @pytest.mark.parametrize("dtype", ["u1", "i2", "f4"])
    def test_images_are_images(self, dtype: str) -> None:
        assert self.role(volume(dtype, (40, 40, 9))) is Role.IMAGE

    def test_the_empty_beginning_of_an_image_that_was_cut_is_no_mask(self) -> None:
        voxels = volume("i2", (40, 40, 9))
        voxels[..., 0] = 0
        data = make(voxels)
        cut = data[: 352 + 2 * 1000]
        for one in (cut, gzip.compress(data, mtime=0)[:-4000], gzip.compress(cut, mtime=0)):
            with pytest.raises(CorruptImageError):
                formats.describe(io.BytesIO(one))

    def test_an_image_behind_the_empty_planes_that_its_header_states_is_no_mask(self) -> None:
        voxels = volume("i2", (40, 40, 9))
        voxels[..., :2] = 0
        data = put(make(voxels), 46, "<h", 2)  # dim[3]
        for one in (data, gzip.compress(data, mtime=0)):
            with pytest.raises(UnsupportedImageError, match="follows"):
                formats.describe(io.BytesIO(one))
        padded = data[: 352 + 2 * 3200] + bytes(6_000_000)
        assert formats.describe(io.BytesIO(padded)).role is Role.OTHER

    @pytest.mark.parametrize("levels", [8, 16, 32])
    def test_a_picture_of_few_grey_levels_is_an_image(self, levels: int) -> None:
        picture = camera()[::2, ::2, None] // (256 // levels)
        assert len(np.unique(picture)) == levels
        assert self.role(picture.astype("u1")) is Role.IMAGE

    def test_few_grey_levels_without_order_are_an_image(self) -> None:
        voxels = RANDOM.integers(0, 20, (40, 40, 9)).astype("i2") * 100
        assert self.role(voxels) is Role.IMAGE

    def test_an_image_behind_an_empty_half_is_an_image(self) -> None:
        voxels = np.zeros((128, 128, 400), "u1", order="F")
        voxels[..., 200:] = RANDOM.integers(0, 250, (128, 128, 200))
        assert self.role(voxels) is Role.IMAGE


class TestContainer:
    def test_extensions_stay_byte_for_byte(self) -> None:
        image = nibabel.Nifti1Image(volume("i2"), np.eye(4))
        image.header.extensions.append(Nifti1Extension("comment", b"some comment"))
        image.header.extensions.append(Nifti1Extension(44, b'{"EchoTime": 0.03}'))
        data = bytes(image.to_bytes())
        encoded = check(data)
        start = len(data) - 9 * 8 * 5 * 2
        assert start > 400
        assert encoded.data[:start] == data[:start]

    @pytest.mark.parametrize("picture", [b"\x89PNG\r\n\x1a\n", b"\xe0\x7f\x10\x00OW"])
    def test_a_picture_in_an_extension_is_refused(self, picture: bytes) -> None:
        image = nibabel.Nifti1Image(volume("i2"), np.eye(4))
        image.header.extensions.append(Nifti1Extension(2, bytes(100) + picture + bytes(100)))
        data = bytes(image.to_bytes())
        with pytest.raises(UnsupportedImageError, match="extension"):
            nifti.describe(io.BytesIO(data))
        with pytest.raises(UnsupportedImageError, match="extension"):
            nifti.open_file(data)

    def test_padding_before_and_behind_the_voxels_stays(self) -> None:
        data = make(volume("i2"))
        padded = put(data[:352] + bytes(160) + data[352:] + bytes(512), 108, "<f", 512)
        encoded = check(padded)
        assert encoded.data[:512] == padded[:512]
        assert encoded.data.endswith(bytes(512))
        assert encoded.notes == ()

    def test_what_else_follows_the_voxels_may_be_a_copy_and_goes(self) -> None:
        data = make(volume("i2"))
        for source in (data + data[352:], gzip.compress(data + data[352:], mtime=0)):
            encoded = check(source)
            assert encoded.notes == ("trailing_data_removed",)
            assert changes(source, encoded.data) == {"TrailingData"}

    def test_the_gzip_header_keeps_time_and_name(self) -> None:
        buffer = io.BytesIO()
        with gzip.GzipFile("brain.nii", "wb", 9, buffer, mtime=1234567890) as file:
            file.write(make(volume("i2")))
        data = buffer.getvalue()
        encoded = check(data)
        assert encoded.data[: 10 + 10] == data[: 10 + 10]
        assert b"brain.nii\0" in encoded.data[:20]

    def test_gzip_of_many_members_is_read_whole(self) -> None:
        data = make(volume("i2"))
        source = b"".join(gzip.compress(data[at : at + 100]) for at in range(0, len(data), 100))
        encoded = check(source)
        assert len(gzip.decompress(encoded.data)) == len(data)

    def test_an_extra_field_of_block_sizes_goes(self) -> None:
        data = make(volume("i2"))
        plain = gzip.compress(data, mtime=0)
        flagged = plain[:3] + b"\x04" + plain[4:10] + b"\x06\0BC\x02\0\x1b\0" + plain[10:]
        assert gzip.decompress(flagged) == data
        encoded = check(flagged)
        assert changes(flagged, encoded.data) == {"GzipExtraField"}


class TestChanges:
    @pytest.mark.parametrize(
        ("at", "name"), [(148, "descrip"), (112, "scl_slope"), (280, "srow_x"), (80, "pixdim")]
    )
    def test_a_changed_header_field_is_named_and_undocumented(self, at: int, name: str) -> None:
        data = make(volume("i2"))
        other = put(data, at, "<f", 77)
        assert changes(data, other) == {name}
        assert undocumented(data, other) == [name]

    def test_bytes_that_came_behind_the_voxels_are_undocumented(self) -> None:
        data = make(volume("i2"))
        assert undocumented(data, data + b"x") == ["TrailingData"]

    def test_another_gzip_header_is_named(self) -> None:
        data = make(volume("i2"))
        one, other = gzip.compress(data, mtime=1), gzip.compress(data, mtime=2)
        assert undocumented(one, other) == ["GzipHeader"]
        assert undocumented(one, data) == ["GzipHeader"]

    def test_fewer_voxels_are_named(self) -> None:
        data = make(volume("i2"))
        assert "size" in undocumented(data, data[:-2])


class TestEncode:
    def test_arrays_that_do_not_fit_are_refused(self) -> None:
        data = make(volume("i2"))
        file = nifti.open_file(data)
        planes = stored(data)
        for wrong in (
            planes[:-1],
            [plane.T for plane in planes],
            [plane.astype("i4") for plane in planes],
        ):
            with pytest.raises(ValueError, match="slice"):
                file.encode(wrong, DERIVATION)


class TestDamage:
    @pytest.mark.parametrize(
        "data",
        [
            make(volume("i2")),
            make(volume("f4"), ">", nibabel.Nifti2Image),
            gzip.compress(make(volume("i2")), mtime=0),
        ],
        ids=["nifti1", "nifti2", "gzip"],
    )
    def test_a_file_cut_anywhere_is_rejected(self, data: bytes) -> None:
        for end in range(2, len(data)):  # one byte may be text
            assert outcome(data[:end]) not in ("protected", "other"), end
        assert outcome(data) == "protected"

    def test_impossible_headers_are_refused_before_anything_is_allocated(self) -> None:
        data = make(volume("i2"))
        for changed in (
            put(data, 40, "<8h", 4, *[32767] * 4, 1, 1, 1),
            put(data, 42, "<3h", 30000, 30000, 2),
        ):
            with pytest.raises((ImageTooLargeError, CorruptImageError)):
                nifti.open_file(changed)

    @pytest.mark.parametrize(
        ("at", "code", "value"),
        [
            (42, "<h", -5),
            (42, "<h", 0),
            (40, "<h", 9),
            (70, "<h", 99),
            (108, "<f", 1e9),
            (108, "<f", 10_000),
            (108, "<f", -1),
            (108, "<f", float("nan")),
            (108, "<f", 352.5),
            (344, "<B", 0),
        ],
    )
    def test_nonsense_in_the_header_is_refused(self, at: int, code: str, value: float) -> None:
        data = put(make(volume("i2")), at, code, value)
        with pytest.raises(InputError):
            nifti.describe(io.BytesIO(data))
        with pytest.raises(InputError):
            nifti.open_file(data)

    def test_an_affine_that_is_no_number_stays(self) -> None:
        data = put(make(volume("i2")), 280, "<12f", *[float("nan")] * 12)
        assert check(data).data[:352] == data[:352]

    def test_a_gzip_bomb_is_refused_within_the_limit(self) -> None:
        head = make(volume("i2"))
        bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
        parts = [bomb.compress(head)] + [bomb.compress(bytes(1 << 24)) for _ in range(8)]
        data = b"".join(parts) + bomb.flush()
        assert len(data) < 200_000
        with pytest.raises(ImageTooLargeError):
            nifti.open_file(data)

    def test_a_small_file_that_promises_much_is_refused_at_once(self) -> None:
        head = put(make(volume("i2")), 40, "<4h", 3, 1000, 1000, 1000)
        with pytest.raises(CorruptImageError, match="fewer"):
            nifti.describe(io.BytesIO(gzip.compress(head)))

    def test_damaged_gzip_is_refused(self) -> None:
        data = bytearray(gzip.compress(make(volume("i2")), mtime=0))
        data[len(data) // 2] ^= 0xFF
        assert outcome(bytes(data)) in ("corrupt", "not_an_image")

    def test_mutations_never_end_in_another_error(self) -> None:
        random = np.random.default_rng(1)
        for data in (make(volume("i2")), make(volume("f4")), gzip.compress(make(volume("u1")))):
            for _ in range(300):
                changed = bytearray(data)
                for at in (random.random(3) ** 3 * len(data)).astype(int):
                    changed[at] = random.integers(256)
                outcome(bytes(changed))


def test_a_described_file_is_not_read_to_its_end_when_it_is_an_image() -> None:
    class Counting(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.total = getattr(self, "total", 0) + len(data)
            return data

    stream = Counting(make(volume("i2", (256, 256, 400))))
    assert formats.load_format("nifti").describe(stream).role is Role.IMAGE
    assert stream.total < 10_000_000
