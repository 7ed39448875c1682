import subprocess
import sys

import pytest
from pydicom import datadict
from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary

from medprotect.imaging.dicom.dictionary import name_of, tag_of, vr_of

_REPEATING = [int(tag.replace("x", "0"), 16) for tag in RepeatersDictionary]


@pytest.mark.parametrize("tags", [list(DicomDictionary), _REPEATING], ids=["single", "repeating"])
def test_it_says_what_pydicom_says(tags: list[int]) -> None:
    for tag in tags:
        assert name_of(tag) == (datadict.keyword_for_tag(tag) or name_of(tag))
        if tag & 0xFFFF:
            assert vr_of(tag) == datadict.dictionary_VR(tag).split(" or ")[0]


def test_it_knows_the_tag_of_every_keyword() -> None:
    for keyword, tag in datadict.keyword_dict.items():
        assert tag_of(keyword) == tag


def test_an_unknown_keyword_is_an_error_and_an_unknown_tag_has_a_number() -> None:
    with pytest.raises(KeyError):
        tag_of("NoSuchKeyword")
    assert (name_of(0x00091234), vr_of(0x00091234)) == ("(0009,1234)", "UN")
    assert (name_of(0x00085678), vr_of(0x00085678)) == ("(0008,5678)", "UN")


def test_it_does_without_importing_pydicom() -> None:
    script = (
        "import sys\n"
        "from medprotect.imaging.dicom.dictionary import name_of\n"
        "assert name_of(0x00100010) == 'PatientName'\n"
        "assert 'pydicom' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
