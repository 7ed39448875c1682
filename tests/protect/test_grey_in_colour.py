"""Pictures that are grey and stored in colour are planned, protected and kept as grey ones."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from monai.transforms.compose import Compose
from numpy.typing import NDArray
from PIL import Image as Picture
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from medprotect import inspect, limits, load_pipeline, protect_file
from medprotect.imaging import formats
from medprotect.imaging.image import Image, Stored
from medprotect.plan.selection import find_candidates
from medprotect.protect.dry_run import look_ahead, plan_export
from medprotect.protect.journal import Entry
from medprotect.protect.protectable import read_protectable
from medprotect.protect.transforms import LoadProtectabled, Protectd, SaveProtectedd
from medprotect.vault.make import make_vault
from medprotect.vault.recipients import Identity
from medprotect.vault.restore import restore_export

from ..confounder.measured_pipeline import make_pipeline
from .test_engine import KEY, files, outcomes, run, settings, times, verify

SIDE = 48
Pixels = NDArray[np.uint8]


def shades(seed: int = 0) -> Pixels:
    """A textured picture, (H, W)."""
    random = np.random.default_rng(seed)
    ramp = np.linspace(60, 180, SIDE)[:, None] + random.normal(0, 12, (SIDE, SIDE))
    return ramp.clip(20, 235).astype(np.uint8)


def three(plane: Pixels) -> Pixels:
    return np.repeat(plane[..., None], 3, axis=-1)


def coloured(pixels: Pixels) -> Pixels:
    """The picture with one pixel off by one in one channel: that is colour."""
    result = pixels.copy()
    result[..., 20, 20, 2] ^= 1
    return result


def saved(pixels: Pixels, kind: str, **options: object) -> bytes:
    stream = BytesIO()
    Picture.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture
def dicom(pydicom_file: Callable[[str], Path]) -> Callable[..., bytes]:
    """`dicom(pixels, syntax=...)` is a secondary capture of (H, W, 3) or (N, H, W, 3)."""

    def make(
        pixels: Pixels,
        syntax: str = "",
        photometric: str = "RGB",
        modality: str = "CT",
        data: bytes = b"",
    ) -> bytes:
        dataset = dcmread(pydicom_file("SC_rgb_rle.dcm"))
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset["PixelData"].is_undefined_length = False
        dataset.Modality, dataset.PhotometricInterpretation = modality, photometric
        dataset.Rows, dataset.Columns, dataset.PlanarConfiguration = SIDE, SIDE, 0
        if pixels.ndim == 4:
            dataset.NumberOfFrames = len(pixels)
        dataset.PixelData = data or pixels.tobytes()
        if syntax == JPEGBaseline8Bit:
            frames = [saved(each, "JPEG", quality=90) for each in pixels.reshape(-1, SIDE, SIDE, 3)]
            dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
            dataset.PixelData = encapsulate(frames)
            dataset["PixelData"].is_undefined_length = True
            dataset.LossyImageCompression = "01"
        elif syntax:
            plugin = "pyjpegls" if syntax == JPEGLSLossless else ""
            dataset.compress(syntax, pixels, encoding_plugin=plugin, generate_instance_uid=False)
        stream = BytesIO()
        dataset.save_as(stream)
        return stream.getvalue()

    return make


@pytest.fixture
def greys(dicom: Callable[..., bytes]) -> dict[str, bytes]:
    """A file of each kind that stores grey in colour."""
    one, many = three(shades()), np.stack([three(shades(seed)) for seed in (1, 2, 3)])
    ybr = np.stack([shades(), np.full_like(shades(), 128), np.full_like(shades(), 128)], axis=-1)
    halved = np.stack([shades()[:, ::2], shades()[:, 1::2], ybr[:, ::2, 1], ybr[:, ::2, 2]], -1)
    opaque = np.concatenate([one, np.full((SIDE, SIDE, 1), 255, np.uint8)], axis=-1)
    stack = BytesIO()
    pages = [Picture.fromarray(page) for page in many]
    pages[0].save(stack, "TIFF", save_all=True, append_images=pages[1:])
    return {
        "a.png": saved(one, "PNG"),
        "alpha.png": saved(opaque, "PNG"),
        "b.jpg": saved(one, "JPEG", quality=90),
        "c.tif": saved(one, "TIFF"),
        "stack.tif": stack.getvalue(),
        "native.dcm": dicom(one),
        "frames.dcm": dicom(many),
        "rle.dcm": dicom(many, RLELossless),
        "jpeg-ls.dcm": dicom(one, JPEGLSLossless),
        "jpeg-2000.dcm": dicom(one, JPEG2000Lossless, "YBR_RCT"),
        "jpeg.dcm": dicom(one, JPEGBaseline8Bit, "YBR_FULL_422"),
        "ybr.dcm": dicom(ybr, photometric="YBR_FULL"),
        "ybr-rle.dcm": dicom(ybr, RLELossless, "YBR_FULL"),
        "ybr-422.dcm": dicom(ybr, photometric="YBR_FULL_422", data=halved.tobytes()),
    }


def write(root: Path, contents: dict[str, bytes]) -> Path:
    root.mkdir()
    for name, data in contents.items():
        (root / name).write_bytes(data)
    return root


def images_of(data: bytes) -> list[Image]:
    return list(formats.open_file(data).images())


def out_of(out: Path, name: str) -> bytes:
    path = out / name
    return (path if path.is_file() else out / f"{name}.png").read_bytes()


def picks(entries: list[Entry]) -> dict[str, tuple[str, str, str]]:
    return {
        each.path: (each.becomes, each.row.pipeline, each.row.why)
        if each.becomes != "rejected"
        else (each.becomes, each.row.reason, each.row.detail)
        for each in entries
    }


class TestARun:
    def test_gives_grey_noise_to_all_of_them_as_the_plan_said(
        self, greys: dict[str, bytes], tmp_path: Path
    ) -> None:
        root, out = write(tmp_path / "export", greys), tmp_path / "out"
        foreseen, unknown = look_ahead(settings(root, out), plan_export(settings(root, out)))
        done = run(root, out)
        assert unknown == 0
        assert picks(done.entries) == picks(foreseen)
        found = {each.path: each.row.pipeline for each in done.entries}
        kind = {True: "ct", False: "radiology-grey"}
        assert found == {name: kind[name.endswith("dcm")] for name in greys}
        for name, data in greys.items():
            before, after = images_of(data), images_of(out_of(out, name))
            assert len(before) == len(after)
            for clean, image in zip(before, after, strict=True):
                assert clean.stored.ndim == image.stored.ndim == 3
                assert image.is_grey
                assert image.photometric == clean.photometric
                assert not np.array_equal(clean.stored, image.stored)
        assert verify(root, out) == []
        assert all(0 < each.share <= 1 for each in done.entries)

    def test_goes_on_in_the_same_bytes_and_is_restored(
        self, greys: dict[str, bytes], tmp_path: Path
    ) -> None:
        root, out = write(tmp_path / "export", greys), tmp_path / "out"
        first = run(root, out)
        written, moments = files(out), times(out)
        for options in ({}, {"rehash": True}):
            again = run(root, out, **options)
            assert times(out) == moments
            assert picks(again.entries) == picks(first.entries)
        for name in ("a.png", "rle.dcm"):
            (out / name).unlink()
        run(root, out)
        make_vault(root, out, tmp_path / "out.medprotect", tmp_path / "vault", KEY)
        restore_export(out, tmp_path / "vault", tmp_path / "back", Identity.of(KEY))
        assert files(tmp_path / "back") == greys
        assert files(out) == written
        assert verify(root, out) == []

    def test_takes_a_pixel_that_differs_in_one_channel_for_colour(
        self, dicom: Callable[..., bytes], tmp_path: Path
    ) -> None:
        many = np.stack([three(shades(seed)) for seed in (1, 2, 3)])
        many[2] = coloured(many[2])
        contents = {
            "a.png": saved(coloured(three(shades())), "PNG"),
            "c.tif": saved(coloured(three(shades())), "TIFF"),
            "ct.dcm": dicom(coloured(three(shades()))),
            "frames.dcm": dicom(many),
            "open.dcm": dicom(coloured(three(shades())), RLELossless, modality=""),
        }
        root, out = write(tmp_path / "export", contents), tmp_path / "out"
        foreseen, _ = look_ahead(settings(root, out), plan_export(settings(root, out)))
        done = run(root, out)
        assert picks(done.entries) == picks(foreseen)
        found = {each.path: each.row.pipeline or each.row.reason for each in done.entries}
        assert {found[name] for name in ("a.png", "c.tif", "open.dcm")} == {"blood-microscopy"}
        rejected = {each.path: each.row.reason for each in done.entries if each.row.reason}
        assert rejected == dict.fromkeys(("ct.dcm", "frames.dcm"), "no_pipeline")
        assert verify(root, out) == []
        assert outcomes(run(root, out)) == outcomes(done)

    def test_holds_the_series_of_a_slice_that_turns_out_to_be_in_colour(
        self, dicom: Callable[..., bytes], tmp_path: Path
    ) -> None:
        contents = {}
        for number in range(3):
            pixels = three(shades(number))
            dataset = dcmread(BytesIO(dicom(coloured(pixels) if number == 1 else pixels)))
            dataset.SeriesInstanceUID = "1.2.3"
            dataset.SOPInstanceUID = f"1.2.3.{number}"
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            stream = BytesIO()
            dataset.save_as(stream)
            contents[f"{number}.dcm"] = stream.getvalue()
        root, out = write(tmp_path / "export", contents), tmp_path / "out"
        foreseen, _ = look_ahead(settings(root, out), plan_export(settings(root, out)))
        expected = {"0.dcm": "held", "1.dcm": "rejected", "2.dcm": "held"}
        assert {each.path: each.outcome.value for each in foreseen} == expected
        assert outcomes(run(root, out)) == expected
        assert outcomes(run(root, out)) == expected
        assert files(out) == {}

    def test_of_a_large_file_reads_all_frames_before_it_chooses(
        self, dicom: Callable[..., bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        many = np.stack([three(shades(seed)) for seed in (1, 2, 3)])
        last = many.copy()
        last[2] = coloured(last[2])
        contents = {
            "grey.dcm": dicom(many, RLELossless, modality=""),
            "last.dcm": dicom(last, RLELossless, modality=""),
        }
        root = write(tmp_path / "export", contents)
        whole = run(root, tmp_path / "whole")
        monkeypatch.setattr(limits, "WHOLE_BYTES", 0)
        streamed = run(root, tmp_path / "streamed")
        assert [each.row.pipeline for each in streamed.entries] == [
            "radiology-grey",
            "blood-microscopy",
        ]
        assert picks(streamed.entries) == picks(whole.entries)
        assert files(tmp_path / "streamed") == files(tmp_path / "whole")

    def test_judges_the_protection_of_the_pipeline_that_the_pixels_ask_for(
        self, tmp_path: Path
    ) -> None:
        contents = {
            "colour.png": saved(coloured(three(shades())), "PNG"),
            "grey.png": saved(three(shades()), "PNG"),
        }
        root, out = write(tmp_path / "export", contents), tmp_path / "out"
        cells = make_pipeline(tmp_path / "cells", "blood-microscopy", standard=0.55)
        grey = make_pipeline(tmp_path / "grey", "radiology-grey", standard=0.0)
        own = find_candidates([str(cells), str(grey)])
        asked = settings(root, out, candidates=own, at_least=0.5)
        foreseen, _ = look_ahead(asked, plan_export(asked))
        strict = run(root, out, candidates=own, at_least=0.5)
        expected = {"colour.png": "protected", "grey.png": "rejected"}
        assert outcomes(strict) == {each.path: each.becomes for each in foreseen} == expected
        assert strict.entries[1].row.reason == "protection_too_low"
        assert outcomes(run(root, out, candidates=own)) == dict.fromkeys(expected, "protected")
        assert outcomes(run(root, out, candidates=own, at_least=0.5)) == expected
        assert list(files(out)) == ["colour.png"]


class TestNoise:
    def test_is_that_of_the_same_picture_stored_in_grey(self, tmp_path: Path) -> None:
        contents = {
            "grey.png": saved(shades(), "PNG"),
            "colour.png": saved(three(shades()), "PNG"),
        }
        root, out = write(tmp_path / "export", contents), tmp_path / "out"
        run(root, out)
        grey, colour = (images_of((out / name).read_bytes())[0].stored for name in contents)
        assert np.array_equal(three(grey), colour)

    def test_is_grey_on_a_grey_picture_even_from_a_pipeline_for_colour(self) -> None:
        source = read_protectable(saved(three(shades()), "PNG"))
        item = {"image": source.data}
        transforms = Compose(
            [LoadProtectabled("image"), Protectd("image", "blood-microscopy", KEY)]
        )
        stored = transforms(item)["image"].permute(1, 2, 0).numpy()
        assert np.array_equal(stored, three(stored[..., 0]))
        assert not np.array_equal(stored, source.stored[0])


class TestIsGrey:
    @pytest.mark.parametrize(
        ("photometric", "pixels", "is_grey"),
        [
            ("RGB", three(shades()), True),
            ("RGB", coloured(three(shades())), False),
            ("YBR_FULL", three(shades()), False),
            ("YBR_FULL", three(shades()) * np.array([1, 0, 0]) + [0, 128, 128], True),
            ("YBR_FULL", three(shades()) * np.array([1, 0, 0]) + [0, 128, 127], False),
            ("MONOCHROME2", shades(), True),
        ],
    )
    def test_is_exact(self, photometric: str, pixels: Stored, is_grey: bool) -> None:
        assert Image(pixels, 0, 255, photometric).is_grey is is_grey


class TestElsewhere:
    def test_one_file_is_protected_and_inspected_as_grey(self, tmp_path: Path) -> None:
        source = tmp_path / "a.png"
        source.write_bytes(saved(three(shades()), "PNG"))
        done = protect_file(source, tmp_path / "b.png", key=KEY)
        assert done.pipeline == "radiology-grey"
        assert images_of((tmp_path / "b.png").read_bytes())[0].is_grey
        traits = inspect(source).description.traits
        assert traits is not None
        assert (traits.shows_grey, traits.channels, traits.photometric) == (True, 3, "RGB")

    def test_transforms_take_a_grey_pipeline_for_it_and_none_for_colour(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "a.png").write_bytes(saved(three(shades()), "PNG"))
        (tmp_path / "b.png").write_bytes(saved(coloured(three(shades())), "PNG"))
        protect = Compose(
            [
                LoadProtectabled("image"),
                Protectd("image", load_pipeline("radiology-grey"), KEY),
                SaveProtectedd("image", folder=tmp_path / "out"),
            ]
        )
        protect({"image": tmp_path / "a.png"})
        assert images_of((tmp_path / "out/a.png").read_bytes())[0].is_grey
        with pytest.raises(RuntimeError):
            protect({"image": tmp_path / "b.png"})
