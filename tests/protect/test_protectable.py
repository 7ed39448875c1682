from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from medprotect.confounder.card import load_card
from medprotect.confounder.key import Key
from medprotect.errors import (
    BudgetBelowOneError,
    NotAnImageError,
    VerificationError,
)
from medprotect.protect.protectable import (
    Protectable,
    add_noise,
    check_file,
    content_sha256,
    derive,
    read_protectable,
)

KEY = Key(bytes(range(32)))
CARD = load_card("radiology-grey")


def white_noise(
    presented: np.ndarray, content: bytes, label: int | None, bound: np.ndarray | None
) -> np.ndarray:
    """Noise that uses the whole budget, another for each image."""
    random = np.random.default_rng(int.from_bytes(content[:4], "big"))
    return random.choice([-1.0, 1.0], presented.shape).astype(np.float32)


def protect(source: Protectable, strength: str = "standard") -> bytes:
    changed = add_noise(source.images, white_noise, strength)
    return source.file.encode(list(changed), derive(CARD, KEY, strength)).data


@pytest.fixture
def slice_file(pydicom_file: Callable[[str], Path]) -> bytes:
    return pydicom_file("CT_small.dcm").read_bytes()


class TestReading:
    def test_images_are_views_of_one_array_in_the_type_of_the_file(self, slice_file: bytes) -> None:
        source = read_protectable(slice_file)
        assert source.stored.shape == (1, 128, 128)
        assert source.stored.dtype == np.int16
        assert np.shares_memory(source.images[0].stored, source.stored)
        assert np.array_equal(source.stored[0], dcmread_pixels(slice_file))

    def test_all_frames_of_a_file_are_read(self, pydicom_file: Callable[[str], Path]) -> None:
        source = read_protectable(pydicom_file("SC_rgb_rle_2frame.dcm").read_bytes())
        assert source.stored.shape == (2, 100, 100, 3)
        assert len(source.images) == 2

    def test_a_report_is_no_image(self, pydicom_file: Callable[[str], Path]) -> None:
        with pytest.raises(NotAnImageError, match="no image"):
            read_protectable(pydicom_file("reportsi.dcm").read_bytes())


def dcmread_pixels(data: bytes) -> np.ndarray:
    from io import BytesIO

    return dcmread(BytesIO(data)).pixel_array


class TestNoise:
    def test_it_stays_within_the_budget_and_uses_it(self, slice_file: bytes) -> None:
        checked = check_file(slice_file, protect(read_protectable(slice_file)), "standard")
        assert checked.images == 1
        assert checked.share == 1
        assert checked.changed > 0.5

    def test_more_strength_changes_more(self, slice_file: bytes) -> None:
        source = read_protectable(slice_file)
        low, high = (add_noise(source.images, white_noise, s) for s in ("low", "high"))
        before = source.stored.astype(int)
        assert np.abs(high - before).mean() > 3 * np.abs(low - before).mean()

    def test_a_file_without_contrast_is_refused(self, slice_file: bytes) -> None:
        source = read_protectable(slice_file)
        source.stored[:] = 40
        with pytest.raises(BudgetBelowOneError):
            add_noise(source.images, white_noise, "standard")

    def test_images_of_the_same_bytes_but_another_type_differ_in_content(self) -> None:
        from dataclasses import replace

        from medprotect.imaging.image import Image

        image = Image(np.zeros((4, 4), np.uint16), 0, 65535)
        assert content_sha256(image) != content_sha256(
            replace(image, stored=image.stored.view(np.int16))
        )


class TestDerivation:
    def test_uids_depend_on_key_strength_pipeline_and_labels(self) -> None:
        other = Key(bytes(32))
        uids = {
            derive(CARD, KEY, "standard").new_uid("instance", "1.2"),
            derive(CARD, other, "standard").new_uid("instance", "1.2"),
            derive(CARD, KEY, "low").new_uid("instance", "1.2"),
            derive(load_card("blood-microscopy"), KEY, "standard").new_uid("instance", "1.2"),
            derive(CARD, KEY, "standard", labels_sha256="ab").new_uid("instance", "1.2"),
            derive(CARD, KEY, "standard").new_uid("series", "1.2"),
        }
        assert len(uids) == 6
        again = derive(CARD, KEY, "standard").new_uid("instance", "1.2")
        assert again in uids
        assert again.startswith("2.25.")


class TestCheck:
    def test_a_pixel_beyond_its_budget_is_found(self, slice_file: bytes) -> None:
        source = read_protectable(slice_file)
        changed = add_noise(source.images, white_noise, "standard")
        changed[0, 64, 64] += 200
        data = source.file.encode(list(changed), derive(CARD, KEY, "standard")).data
        with pytest.raises(VerificationError, match="budget"):
            check_file(slice_file, data, "standard")

    def test_a_file_protected_more_strongly_than_said_is_found(self, slice_file: bytes) -> None:
        data = protect(read_protectable(slice_file), "high")
        with pytest.raises(VerificationError, match="budget"):
            check_file(slice_file, data, "standard")

    def test_an_unchanged_file_is_found(self, slice_file: bytes) -> None:
        with pytest.raises(VerificationError, match="not protected"):
            check_file(slice_file, slice_file, "standard")

    def test_an_undocumented_change_of_the_header_is_found(self, slice_file: bytes) -> None:
        data = protect(read_protectable(slice_file))
        assert data.count(b"CompressedSamples^CT1") == 1
        forged = data.replace(b"CompressedSamples^CT1", b"CompressedSamples^CT2")
        with pytest.raises(VerificationError, match="PatientName") as caught:
            check_file(slice_file, forged, "standard")
        assert "CompressedSamples" not in str(caught.value)

    def test_a_missing_frame_is_found(self, pydicom_file: Callable[[str], Path]) -> None:
        two = pydicom_file("SC_rgb_rle_2frame.dcm").read_bytes()
        one = pydicom_file("SC_rgb_rle.dcm").read_bytes()
        with pytest.raises(VerificationError, match="number of images"):
            check_file(two, protect(read_protectable(one)), "high")
