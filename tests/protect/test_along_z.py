"""Noise along z, from volumes as they lie on the disk: alike from slice to slice, or not."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread

from medprotect.confounder.key import Key
from medprotect.plan.selection import find_candidates
from medprotect.protect.engine import protect_export
from medprotect.protect.receipt import NAME as RECEIPT
from medprotect.protect.settings import Settings
from medprotect.protect.transforms import LoadProtectable, Protect, from_tensor
from medprotect.protect.verify import verify_run

KEY = Key(bytes(range(32)))
VOLUME = Path(nibabel.__file__).parent / "tests" / "data" / "example4d.nii.gz"
"""A brain in 24 planes, twice, by MR; neighbouring planes lie 2.2 mm apart."""


def noise_of(along_z: str, key: Key) -> NDArray[np.float64]:
    """Noise (N, H, W) of the planes of one volume, in stored values."""
    image = LoadProtectable()(VOLUME)
    protected = Protect("radiology-grey", key, along_z=along_z)(image)
    noise: NDArray[np.float64] = from_tensor(protected).astype(float) - from_tensor(image)
    return noise[:24]


def likenesses(noise: NDArray[np.float64]) -> list[float]:
    """Correlations of the noise of neighbouring planes, where both may change."""
    found = []
    for one, other in pairwise(noise):
        both = (one != 0) & (other != 0)
        found.append(float(np.corrcoef(one[both], other[both])[0, 1]))
    return found


def test_noise_of_neighbouring_planes_is_alike_or_not_as_asked_for() -> None:
    keys = [Key(bytes([number]) * 32) for number in range(3)]
    found = {
        way: np.concatenate([likenesses(noise_of(way, key)) for key in keys])
        for way in ("coherent", "independent")
    }
    for way, each in found.items():
        print(f"{way}: {each.mean():.2f}, of single pairs {each.min():.2f} to {each.max():.2f}")
    assert found["coherent"].min() > 0.7
    assert abs(found["independent"].mean()) < 0.3
    assert found["independent"].min() < 0


def test_coherent_is_what_goes_without_saying() -> None:
    image = LoadProtectable()(VOLUME)
    said = Protect("radiology-grey", KEY, along_z="coherent")(image)
    assert Protect("radiology-grey", KEY)(image).equal(said)


@pytest.fixture
def settings(
    export: Callable[..., Path], pydicom_file: Callable[[str], Path], tmp_path: Path
) -> Settings:
    one = pydicom_file("CT_small.dcm")
    root = export({"one.dcm": one, "a/other name.dcm": one, "volume.nii.gz": VOLUME.read_bytes()})
    return Settings(
        export=root,
        out=tmp_path / "out",
        state=tmp_path / "out.medprotect",
        candidates=find_candidates(["auto"]),
        along_z="independent",
    )


class TestRun:
    def test_independent_noise_depends_on_no_name_order_or_worker(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        protect_export(settings, KEY)
        places = {"out": tmp_path / "two", "state": tmp_path / "two.medprotect"}
        protect_export(replace(settings, jobs=2, **places), KEY)
        for name in ("one.dcm", "volume.nii.gz"):
            assert (settings.out / name).read_bytes() == (places["out"] / name).read_bytes()
        one, other = (dcmread(settings.out / n) for n in ("one.dcm", "a/other name.dcm"))
        assert one.PixelData == other.PixelData

    def test_it_holds_its_bounds_and_stands_in_the_receipt(self, settings: Settings) -> None:
        protect_export(settings, KEY)
        assert verify_run(settings.export, settings.out, settings.state).faults == []
        receipt = settings.state / RECEIPT
        assert '"along_z": "independent"' in receipt.read_text()
        receipt.write_text(receipt.read_text().replace('"independent"', '"coherent"'))
        (fault,) = verify_run(settings.export, settings.out, settings.state).faults
        assert "along_z" in fault.detail

    def test_its_uids_are_not_those_of_coherent_noise(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        protect_export(settings, KEY)
        places = {"out": tmp_path / "two", "state": tmp_path / "two.medprotect"}
        protect_export(replace(settings, along_z="coherent", **places), KEY)
        one, other = (dcmread(out / "one.dcm") for out in (settings.out, places["out"]))
        assert one.PixelData != other.PixelData
        assert one.SOPInstanceUID != other.SOPInstanceUID
        assert one.SeriesInstanceUID != other.SeriesInstanceUID
