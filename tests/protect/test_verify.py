"""An OUT that was tampered with is found, by whoever did it, journal and receipt or not."""

import gzip
import hashlib
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture
from pydicom import dcmread

from medprotect.confounder.key import Key
from medprotect.plan.plan import Action
from medprotect.plan.selection import find_candidates
from medprotect.protect import verify
from medprotect.protect.engine import protect_export
from medprotect.protect.file_check import Fault, Verification
from medprotect.protect.journal import Journal, Outcome
from medprotect.protect.settings import Settings
from medprotect.protect.summary import Summary
from medprotect.protect.verify import verify_run

from ..confounder.measured_pipeline import make_pipeline
from ..e2e.seeds import MAKERS, nifti_pair
from ..imaging.raster.pictures import COLOUR, GREY, png

FILES = {
    "a/native.dcm": "dicom",
    "a/rle.dcm": "dicom-rle",
    "b/jpeg-ls.dcm": "dicom-jpeg-ls",
    "b/j2k.dcm": "dicom-jpeg-2000",
    "volume.nii": "nifti",
    "volume.nii.gz": "nifti-gzip",
    "volume.mha": "metaimage-zlib",
    "volume.nrrd": "nrrd",
    "volume.mgz": "mgh-gzip",
    "page.tif": "tiff-lzw",
    "lossy.jpg": "jpeg",
}
TEXT = b"file,class\n"


class Place:
    """A finished run, in a copy of its own."""

    def __init__(self, folder: Path) -> None:
        self.root, self.out = folder / "export", folder / "out"
        self.state = folder / "out.medprotect"

    def verify(self) -> Verification:
        return verify_run(self.root, self.out, self.state)

    def faults(self) -> list[Fault]:
        return self.verify().faults

    def write(self, name: str, data: bytes, **fields: Any) -> None:
        """Put bytes into OUT, and have journal and receipt say that they belong there."""
        (self.out / name).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        self.edit(name, sha256_out=digest, size_out=len(data), **fields)

    def edit(self, name: str, **fields: Any) -> None:
        with Journal(self.state) as journal:
            (entry,) = (each for each in journal.entries() if each.row.out == name)
            journal.record([replace(entry, **fields)])
        known = {key: value for key, value in fields.items() if key != "row"}
        outcome = known.get("outcome")
        if outcome:
            known["outcome"] = str(outcome)
        self.edit_receipt(lambda lines: self._line(lines, name).update(known))

    @staticmethod
    def _line(lines: list[dict[str, Any]], name: str) -> dict[str, Any]:
        return next(line for line in lines if line.get("out") == name)

    def edit_receipt(self, edit: Callable[[list[dict[str, Any]]], object]) -> None:
        receipt = json.loads((self.state / "receipt.json").read_text())
        edit(receipt["files"])
        (self.state / "receipt.json").write_text(json.dumps(receipt))


def protect(place: Place, *pipelines: Path) -> Summary:
    settings = Settings(
        export=place.root,
        out=place.out,
        state=place.state,
        candidates=find_candidates([str(each) for each in pipelines] or ["auto"]),
        copy_others=True,
    )
    return protect_export(settings, Key(bytes(range(32))))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("finished"))
    folder = tmp_path_factory.mktemp("pipelines")
    own = [
        make_pipeline(folder / "mr", "mr"),
        make_pipeline(folder / "grey", "radiology-grey", standard=0.0),
        make_pipeline(folder / "cells", "blood-microscopy", standard=0.55),
    ]
    files = {name: MAKERS[kind]() for name, kind in FILES.items()}
    alpha = np.where(GREY[:20, :20] > 100, 255, 9).astype(np.uint8)
    files["alpha.png"] = png(np.dstack([COLOUR[:20, :20], alpha]))
    files["table.csv"] = TEXT
    for name, data in files.items():
        path = place.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert protect(place, *own).counts == {Outcome.PROTECTED: len(files) - 1, Outcome.COPIED: 1}
    return place


@pytest.fixture
def place(finished: Place, tmp_path: Path) -> Place:
    for tree in (finished.root, finished.out, finished.state):
        shutil.copytree(tree, tmp_path / tree.name)
    return Place(tmp_path)


class TestUntouched:
    def test_all_holds_and_all_but_the_lossy_file_is_read_twice(self, place: Place) -> None:
        found = place.verify()
        assert found.faults == []
        assert found.checked == len(FILES) + 2
        assert found.read_twice == len(FILES)
        assert 0 < found.share <= 1


def test_an_implicit_data_set_under_an_explicit_syntax_is_read_again(
    tmp_path: Path, pydicom_file: Callable[[str], Path]
) -> None:
    place = Place(tmp_path)
    place.root.mkdir()
    name = "SC_rgb_jpeg.dcm"
    shutil.copy(pydicom_file(name), place.root)
    pipeline = make_pipeline(tmp_path / "colour", "blood-microscopy", standard=0.55)
    assert protect(place, pipeline).counts == {Outcome.PROTECTED: 1}
    assert place.faults() == []


class TestProcesses:
    def test_several_find_what_one_finds_and_in_the_same_order(
        self, tmp_path: Path, pydicom_file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Pairs, references, copies and damage among them."""
        monkeypatch.setattr(verify, "_FILES_A_PROCESS", 2)
        place = Place(tmp_path)
        place.root.mkdir()
        dataset = dcmread(pydicom_file("CT_small.dcm"))
        for number in range(6):
            dataset.SOPInstanceUID = f"1.2.3.{number}"
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.save_as(place.root / f"{number}.dcm")
        for name, data in zip(("v.hdr", "v.img"), nifti_pair(0), strict=True):
            (place.root / name).write_bytes(data)
        (place.root / "table.csv").write_bytes(TEXT)
        protect(place)
        for name in ("1.dcm", "4.dcm", "v.img"):
            data = bytearray((place.out / name).read_bytes())
            data[-1] ^= 1
            (place.out / name).write_bytes(data)
        alone, together = (
            verify_run(place.root, place.out, place.state, jobs=jobs) for jobs in (1, 3)
        )
        assert [fault.number for fault in alone.faults] == [2, 5, 8, 9]
        assert together == alone


def with_pixel(name: str, data: bytes, original: bytes, by: int) -> bytes:
    """The protected file with one pixel at `by` from the original's, all else as it was."""
    if name.endswith(".png"):
        pixels = np.array(Picture.open(BytesIO(data)))
        pixels[4, 5, 1] = int(np.array(Picture.open(BytesIO(original)))[4, 5, 1]) + by
        return png(pixels)
    if name.endswith(".dcm"):
        dataset, before = dcmread(BytesIO(data)), dcmread(BytesIO(original))
        pixels = dataset.pixel_array.copy()
        pixels[4, 5] = before.pixel_array[4, 5] + by
        syntax = dataset.file_meta.TransferSyntaxUID
        if syntax.is_encapsulated:
            dataset.compress(syntax, pixels, generate_instance_uid=False)
        else:
            dataset.PixelData = pixels.tobytes()
        buffer = BytesIO()
        dataset.save_as(buffer)
        return buffer.getvalue()
    packed = data.startswith(b"\x1f\x8b")
    plain, before_plain = (gzip.decompress(d) if packed else d for d in (data, original))
    at = len(plain) - 2 * 40
    value = int.from_bytes(before_plain[at : at + 2], "little") + by
    changed = plain[:at] + value.to_bytes(2, "little") + plain[at + 2 :]
    return gzip.compress(changed, mtime=0) if packed else changed


def budget(name: str, place: Place) -> int:
    """That of the pixel that `with_pixel` changes."""
    from medprotect.intensity.budget import budget_lsb
    from medprotect.intensity.windows import view
    from medprotect.protect.protectable import read_protectable

    image = read_protectable((place.root / name).read_bytes()).images[-1]
    at = (4, 5) if not name.startswith("volume") else np.unravel_index(72 - 40, (8, 9))
    return int(budget_lsb(view(image), "standard")[at])


class TestTampered:
    @pytest.mark.parametrize("name", ["alpha.png", "a/native.dcm", "a/rle.dcm", "volume.nii"])
    def test_one_pixel_by_one_beyond_its_budget_is_found_though_the_journal_says_so(
        self, place: Place, name: str
    ) -> None:
        data, original = ((tree / name).read_bytes() for tree in (place.out, place.root))
        most = budget(name, place)
        assert most > 0
        place.write(name, with_pixel(name, data, original, most))
        assert not [fault for fault in place.faults() if "budget" in fault.detail]
        place.write(name, with_pixel(name, data, original, most + 1))
        (fault,) = place.faults()
        assert fault.slug == "verification"
        assert "changed by more than its budget" in fault.detail
        assert ("row 4, column 5" in fault.detail) == (not name.startswith("volume"))

    @pytest.mark.parametrize("name", [*FILES, "alpha.png"])
    def test_any_byte_changed_is_found_where_the_journal_was_not(
        self, place: Place, name: str
    ) -> None:
        path = place.out / f"{name}.png" if name.endswith(".jpg") else place.out / name
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        (fault,) = place.faults()
        assert "not the one that was written" in fault.detail

    @pytest.mark.parametrize(
        ("name", "old", "new", "element"),
        [
            ("a/native.dcm", b"CompressedSamples^MR1", b"CompressedSamples^MR2", "PatientName"),
            ("b/jpeg-ls.dcm", b"1.2.840.10008.5.1.4.1.1.4", b"1.2.840.10008.5.1.4.1.1.2", "SOPCl"),
            ("volume.nii", b"seen", b"sawn", "extension"),
            ("volume.nrrd", b"left-posterior", b"left-anterior", "space"),
            ("volume.mha", b"RAI", b"RAS", "AnatomicalOrientation"),
            ("page.tif", b"tifffile", b"tifffake", "Software"),
        ],
    )
    def test_one_element_of_a_header_is_found_and_named_without_its_value(
        self, place: Place, name: str, old: bytes, new: bytes, element: str
    ) -> None:
        data = (place.out / name).read_bytes()
        assert old in data
        place.write(name, data.replace(old, new))
        (fault,) = place.faults()
        assert element in fault.detail
        assert old.decode() not in fault.detail

    @pytest.mark.parametrize("name", [*FILES, "alpha.png"])
    def test_the_clean_original_is_found_though_the_journal_says_so(
        self, place: Place, name: str
    ) -> None:
        original = (place.root / name).read_bytes()
        name = f"{name}.png" if name.endswith(".jpg") else name
        place.write(name, original)
        (fault,) = place.faults()
        assert fault.slug == "verification"

    def test_the_clean_original_listed_as_a_copy_is_found(self, place: Place) -> None:
        name = "a/native.dcm"
        with Journal(place.state) as journal:
            (entry,) = (each for each in journal.entries() if each.row.out == name)
        row = replace(entry.row, action=Action.COPY)
        place.write(name, (place.root / name).read_bytes(), outcome=Outcome.COPIED, row=row)
        assert "an image was copied as it was: it is not protected" in [
            fault.detail for fault in place.faults()
        ]

    def test_one_slice_as_it_was_is_found_among_protected_ones(self, place: Place) -> None:
        name = "volume.nii"
        data, original = ((tree / name).read_bytes() for tree in (place.out, place.root))
        size = 2 * 72
        at = len(data) - 2 * size
        place.write(name, data[:at] + original[at : at + size] + data[at + size :])
        (fault,) = place.faults()
        assert fault.detail == "image 2 is as it was: it is not protected"

    def test_two_protected_files_in_each_others_place_are_found(self, place: Place) -> None:
        one, other = place.out / "a/native.dcm", place.out / "a/rle.dcm"
        data = one.read_bytes()
        place.write("a/native.dcm", other.read_bytes())
        place.write("a/rle.dcm", data)
        assert len(place.faults()) == 2

    def test_a_changed_alpha_channel_is_found(self, place: Place) -> None:
        pixels = np.array(Picture.open(place.out / "alpha.png"))
        pixels[3, 3, 3] ^= 1
        place.write("alpha.png", png(pixels))
        (fault,) = place.faults()
        assert "alpha" in fault.detail

    def test_files_that_came_or_went_are_found(self, place: Place) -> None:
        (place.out / "a" / "hidden").mkdir()
        (place.out / "a" / "hidden" / "x.dcm").write_bytes(b"x")
        (place.out / "link").symlink_to("page.tif")
        (place.out / "table.csv").unlink()
        found = [(fault.slug, fault.detail) for fault in place.faults()]
        assert ("foreign", "2 files in OUT were not written by the run") in found
        assert ("verification", "the file is missing from OUT") in found
        assert len(found) == 2


class TestBudgetRule:
    @staticmethod
    def set_rule(place: Place, rule: int | None) -> None:
        with Journal(place.state) as journal:
            identity = journal.about("identity") | {"budget": rule}
            if rule is None:
                del identity["budget"]
            journal.state_about("identity", identity)

    @pytest.mark.parametrize(("rule", "named"), [(None, 1), (1, 1), (3, 3)])
    def test_another_is_named_in_one_fault_and_bounds_are_not_checked(
        self, place: Place, rule: int | None, named: int
    ) -> None:
        name = "a/native.dcm"
        data, original = ((tree / name).read_bytes() for tree in (place.out, place.root))
        place.write(name, with_pixel(name, data, original, budget(name, place) + 300))
        self.set_rule(place, rule)
        found = place.verify()
        (fault,) = found.faults
        assert (fault.number, fault.slug) == (0, "budget_rule")
        assert f"by budget rule {named}; this version knows rule 2 alone" in fault.detail
        assert not found.checks_bound
        assert found.share == 0
        assert found.checked == len(FILES) + 2

    def test_all_else_is_checked(self, place: Place) -> None:
        name = "a/native.dcm"
        data = (place.out / name).read_bytes()
        place.write(name, data.replace(b"CompressedSamples^MR1", b"CompressedSamples^MR2"))
        place.write("b/j2k.dcm", (place.root / "b/j2k.dcm").read_bytes())
        (place.out / "page.tif").unlink()
        self.set_rule(place, 1)
        details = [fault.detail for fault in place.faults() if fault.slug == "verification"]
        assert "PatientName" in details[0]
        assert details[1:] == [
            "image 1 is as it was: it is not protected",
            "the file is missing from OUT",
        ]


class TestReceipt:
    @pytest.mark.parametrize(
        "edit",
        [
            lambda receipt: receipt["files"][0].update(outcome="left"),
            lambda receipt: receipt["files"][1].update(share=0.25),
            lambda receipt: receipt["files"][2].update(path="elsewhere"),
            lambda receipt: receipt["files"].pop(),
            lambda receipt: receipt["counts"].update(protected=1000),
            lambda receipt: receipt.update(summary="All is protected."),
            lambda receipt: receipt.update(caveat="It protects against everybody."),
            lambda receipt: receipt.update(strength="low"),
            lambda receipt: receipt.update(largest_share_of_budget=0.1),
            lambda receipt: receipt.update(key="0" * 16),
            lambda receipt: receipt.pop("files"),
        ],
    )
    def test_an_edited_one_is_found(self, place: Place, edit: Callable[[Any], object]) -> None:
        path = place.state / "receipt.json"
        receipt = json.loads(path.read_text())
        edit(receipt)
        path.write_text(json.dumps(receipt))
        assert {fault.slug for fault in place.faults()} == {"receipt"}

    def test_one_of_before_said_nothing_beside_protection(self, place: Place) -> None:
        path = place.state / "receipt.json"
        receipt = json.loads(path.read_text())
        del receipt["caveat"]
        for each in receipt["pipelines"]:
            del each["measured"]
        path.write_text(json.dumps(receipt))
        assert place.faults() == []

    @pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
    def test_one_that_is_none_is_found(self, place: Place, data: bytes) -> None:
        (place.state / "receipt.json").write_bytes(data)
        assert {fault.slug for fault in place.faults()} == {"receipt"}


def test_readings_that_differ_are_a_fault(place: Place) -> None:
    """Rows in another order, such as a reader and a writer could both be wrong about."""
    from medprotect.errors import VerificationError
    from medprotect.imaging.second_reading import read_again
    from medprotect.protect.comparison import _check_reading
    from medprotect.protect.protectable import read_protectable

    data = (place.root / "a/rle.dcm").read_bytes()
    (image,) = read_protectable(data).images
    (seen,) = read_again(io.BytesIO(data), "dicom") or ()
    _check_reading(image.stored, seen, 0, "the original")
    with pytest.raises(VerificationError, match="another library reads other pixels"):
        _check_reading(image.stored[::-1], seen, 0, "the original")
