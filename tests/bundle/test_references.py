"""References among the images of an export, when a bundle has protected them all."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread

from medprotect.bundle.references import remap_references
from medprotect.bundle.running import ProgramRun, check_output
from medprotect.confounder.card import load_card
from medprotect.confounder.key import Key
from medprotect.errors import VerificationError
from medprotect.plan.selection import Candidate
from medprotect.protect.settings import Settings
from medprotect.protect.transforms import LoadProtectable, Protect, SaveProtected

from .conftest import NAME, refer

KEY = Key(bytes(range(32)))
FIRST, SECOND = "b/CT_small.dcm", "a/refers.dcm"


@pytest.fixture
def settings(
    export: Callable[..., Path], pydicom_file: Callable[[str], Path], tmp_path: Path
) -> Settings:
    """Two images, of which one refers to the other, and what was written of each by itself."""
    image = pydicom_file("CT_small.dcm")
    files = {FIRST: image, SECOND: refer(image, tmp_path / "refers.dcm")}
    place = Settings(
        export=export({**files, "notes.txt": b"no image"}),
        out=tmp_path / "out",
        state=tmp_path / "state",
        candidates=(Candidate(load_card(NAME), named=True),),
    )
    for name in files:
        (place.out / name).parent.mkdir(parents=True)
        protected = Protect(NAME, KEY)(LoadProtectable()(place.export / name))
        SaveProtected()(protected, place.out / name)
    return place


def remap(settings: Settings) -> int:
    places = (str(settings.export), str(settings.out))
    return remap_references(*places, str(load_card(NAME).folder))


def test_they_lead_to_what_the_images_became(settings: Settings) -> None:
    assert remap(settings) == 1
    first, second = (dcmread(settings.out / name) for name in (FIRST, SECOND))
    referred = second.ReferencedImageSequence[0].ReferencedSOPInstanceUID
    assert referred == first.SOPInstanceUID
    assert check_output(settings) == ProgramRun(files=3, checked=2, left=1)


def test_files_that_refer_to_none_stay_as_they_were(settings: Settings) -> None:
    before = (settings.out / FIRST).read_bytes()
    remap(settings)
    assert (settings.out / FIRST).read_bytes() == before


def test_a_program_that_leaves_them_is_found_out(settings: Settings) -> None:
    with pytest.raises(VerificationError, match="ReferencedSOPInstanceUID"):
        check_output(settings)
