"""The data dictionary of PS3.6, as pydicom holds it, without the half second that pydicom takes.

A command that reads headers alone needs nothing else of pydicom. What the table lacks, repeating
groups among it, pydicom itself is asked for.
"""

import importlib.util
from functools import lru_cache
from pathlib import Path

_VR, _KEYWORD = 0, 4


def _load() -> dict[int, tuple[str, ...]]:
    """Run the file of pydicom that holds nothing but the table."""
    package = importlib.util.find_spec("pydicom")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("pydicom")
    place = Path(package.origin).with_name("_dicom_dict.py")
    spec = importlib.util.spec_from_file_location(f"{__name__}._dicom_dict", place)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(str(place.name))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    table: dict[int, tuple[str, ...]] = module.DicomDictionary
    return table


_TABLE = _load()
_TAGS = {entry[_KEYWORD]: tag for tag, entry in _TABLE.items()}


def tag_of(keyword: str) -> int:
    """Return the tag of a keyword.

    Raises
    ------
    KeyError
        The dictionary has no such keyword.
    """
    return _TAGS[keyword]


@lru_cache(maxsize=4096)
def name_of(tag: int) -> str:
    """Return the keyword of a tag, or ``(gggg,eeee)`` where it has none."""
    if tag in _TABLE:
        keyword = _TABLE[tag][_KEYWORD]
    else:
        from pydicom.datadict import keyword_for_tag

        keyword = str(keyword_for_tag(tag))
    return keyword or f"({tag >> 16:04x},{tag & 0xFFFF:04x})"


@lru_cache(maxsize=4096)
def vr_of(tag: int) -> str:
    """Return the VR that the dictionary gives a tag; ``UN`` where it knows none."""
    if tag & 0xFFFF == 0:
        return "UL"
    group_is_private = tag >> 16 & 1
    if group_is_private:
        return "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else "UN"
    if tag in _TABLE:
        return _TABLE[tag][_VR].split(" or ")[0]
    from pydicom.datadict import dictionary_VR

    try:
        return str(dictionary_VR(tag)).split(" or ")[0]
    except KeyError:
        return "UN"
