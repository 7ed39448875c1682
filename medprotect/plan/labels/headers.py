"""Labels that stand in DICOM headers, and the IDs by which a table names what lies in an export."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medprotect import limits
from medprotect.errors import ConfigError, MedprotectError
from medprotect.imaging.dicom.dictionary import tag_of, vr_of
from medprotect.imaging.dicom.document import is_deflated, is_dicom
from medprotect.plan.patience import patience, planning_seconds
from medprotect.scan.walk import Found, Tree, open_found

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

IDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID")
"""What a table may name images by, besides files and folders."""

_HEAD_BYTES = 4096
_MOST_CHARACTERS = 1024
_NO_LABEL = frozenset({"OB", "OW", "OD", "OF", "OL", "OV", "UN"})


def read_headers(
    export: Path | Tree, files: Iterable[Found], keywords: Sequence[str], *, only: bytes = b""
) -> "Iterator[tuple[str, Dataset]]":
    """Yield what DICOM files say under some keywords; what is damaged or none is passed over.

    Parameters
    ----------
    export : Path or Tree
        Root of the export; files are opened as `open_found` does.
    files : iterable of Found
        Which to read.
    keywords : sequence of str
        Of elements at the top; empty for all.
    only : bytes
        What must stand in the first bytes.
    """
    for found in files:
        header = _read_header(export, found, keywords, only)
        if header is not None:
            yield found.path, header


def _read_header(
    export: Path | Tree, found: Found, keywords: Sequence[str], only: bytes
) -> "Dataset | None":
    try:
        with patience(planning_seconds(found.size)), open_found(export, found) as stream:
            head = stream.read(_HEAD_BYTES)
            if only not in head or not is_dicom(head):
                return None
            # What is deflated inflates to any size; and all of a header is read only if small.
            if is_deflated(head) or (not keywords and found.size > limits.HEADER_BYTES):
                return None
            from pydicom import dcmread  # it takes half a second, and most runs need none

            stream.seek(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return dcmread(
                    stream,
                    force=True,
                    stop_before_pixels=True,
                    specific_tags=["SpecificCharacterSet", *keywords] if keywords else None,
                )
    except (MedprotectError, OSError, MemoryError, RecursionError):
        return None
    except Exception:  # a damaged header has no label; what it is, the plan says
        return None


def read_values(header: "Dataset", path: Sequence[str]) -> tuple[str, ...]:
    """Return what a header says under keywords that lead into sequences: sorted, each once."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = set(_values(header, path))
    except Exception:  # a value that cannot be decoded
        return ()
    return tuple(sorted(word for word in found if word and len(word) <= _MOST_CHARACTERS))


def _values(header: "Dataset", path: Sequence[str]) -> Iterator[str]:
    value: Any = header.get(path[0])
    if len(path) > 1:
        for item in value or ():
            yield from _values(item, path[1:])
    elif isinstance(value, str) or not hasattr(value, "__iter__"):
        yield "" if value is None else str(value).strip()
    else:
        yield from (str(each).strip() for each in value)


def read_ids(export: Path | Tree, files: Iterable[Found]) -> dict[str, dict[str, list[str]]]:
    """Return the paths of files by what their headers are known by, for each of `IDS`."""
    by_id: dict[str, dict[str, list[str]]] = {keyword: {} for keyword in IDS}
    for path, header in read_headers(export, files, IDS):
        for keyword in IDS:
            for value in read_values(header, [keyword]):
                by_id[keyword].setdefault(value, []).append(path)
    return by_id


def parse_field(words: str) -> tuple[str, ...]:
    """Return the keywords of ``AnatomicRegionSequence.CodeMeaning``.

    Raises
    ------
    ConfigError
        DICOM has no such keyword, or it holds no words.
    """
    path = tuple(words.split("."))
    for at, keyword in enumerate(path):
        try:
            vr = vr_of(tag_of(keyword or "none"))  # retired elements have no keyword
        except KeyError:
            raise ConfigError(
                f"Part {at + 1} of --labels dicom:KEYWORD is no keyword of DICOM: {_hint(keyword)}"
            ) from None
        is_last = at == len(path) - 1
        if vr == "SQ" and is_last:
            raise ConfigError(
                f"{keyword} is a sequence: name what in it is the label, such as "
                f"--labels dicom:{words}.CodeMeaning."
            )
        if vr != "SQ" and not is_last:
            raise ConfigError(f"{keyword} is no sequence: leave out what follows it.")
        if vr in _NO_LABEL:
            raise ConfigError(f"{keyword} holds bytes, which are no label: name another keyword.")
    return path


def _hint(keyword: str) -> str:
    from pydicom.datadict import keyword_dict

    near = get_close_matches(keyword, [word for word in keyword_dict if word], 1)
    return f"did you mean {near[0]}?" if near else "give one such as BodyPartExamined."


def label_by_field(
    export: Path | Tree, files: Iterable[Found], path: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return what each file says in a field; what says nothing is left out."""
    return {
        file: values
        for file, header in read_headers(export, files, path[:1])
        if (values := read_values(header, path))
    }
