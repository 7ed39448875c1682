"""What became of files of every kind: a table of a finished run, in Markdown.

``python -m tests.e2e.kinds EXPORT OUT`` reads the receipt in ``OUT.medprotect``, and asks of each
file of the export what it is: pydicom of DICOM, nibabel, SimpleITK and Pillow of the others. Two
runs make one table: ``python -m tests.e2e.kinds EXPORT OUT EXPORT OUT``. No path is printed.
"""

import json
import re
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import nibabel
import SimpleITK
from PIL import Image as Picture
from pydicom import Dataset, dcmread

from medprotect.protect.journal import ENDS
from medprotect.scan.sniff import FORMATS, sniff

NONE, UNREADABLE = "none", "cannot be read"
DICOM_HEAD = ("modality", "transfer syntax", "photometric", "bits stored")
OTHER_HEAD = ("format", "files", "values")

_WORD = re.compile(r"[\w .,/+()-]{1,64}")

Kind = tuple[str, ...]


def read_lines(out: Path) -> list[dict[str, Any]]:
    """Return what the receipt of a run says of each file."""
    receipt = json.loads((out.with_name(f"{out.name}.medprotect") / "receipt.json").read_bytes())
    return list(receipt["files"])


def kind_of(export: Path, line: Mapping[str, Any]) -> Kind:
    """Return modality, syntax, photometric and bits of DICOM; format, files and type of others."""
    path = export / line["path"]
    if path.is_symlink() or not path.is_file():
        return ("no regular file", NONE, NONE)
    with path.open("rb") as stream:
        word = sniff(stream)
    if word == "dicom":
        return tuple(map(_cell, _of_dicom(path)))
    if line.get("header"):
        with (export / line["header"]).open("rb") as stream:
            return (sniff(stream), "voxels of a pair", _cell(_of_other(export / line["header"])))
    form = "header of a pair" if line.get("voxels") else "one"
    if path.read_bytes()[:2] == b"\x1f\x8b":
        form += ", gzipped"
    return (word, form, _cell(_of_other(path)) if word in FORMATS else NONE)


def _cell(text: str) -> str:
    return text if _WORD.fullmatch(text) else UNREADABLE


def _of_dicom(path: Path) -> Kind:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _of_data_set(dcmread(path, stop_before_pixels=True, force=True))
        except Exception:
            return (UNREADABLE,) * len(DICOM_HEAD)


def _of_data_set(found: Dataset) -> Kind:
    modality = str(found.get("Modality") or NONE)
    if "Rows" not in found:  # a report, a plan, a directory
        return (modality, NONE, NONE, NONE)
    syntax = found.file_meta.get("TransferSyntaxUID")
    return (
        modality,
        syntax.name.split(" (")[0].replace(":", ",") if syntax else NONE,
        str(found.get("PhotometricInterpretation") or NONE),
        str(found.get("BitsStored") or NONE),
    )


def _of_other(path: Path) -> str:
    with path.open("rb") as stream:
        word = sniff(stream)
    try:
        if word in ("nifti", "mgh"):
            dtype = nibabel.load(path).get_data_dtype()  # type: ignore[attr-defined]
            return "RGB" if dtype.names else str(dtype.newbyteorder("="))
        if word in ("metaimage", "nrrd"):
            reader = SimpleITK.ImageFileReader()
            reader.SetFileName(path)
            reader.ReadImageInformation()
            return str(SimpleITK.GetPixelIDValueAsString(reader.GetPixelID()))
        with Picture.open(path) as picture:
            return picture.mode
    except Exception:
        return UNREADABLE


def reason_of(line: Mapping[str, Any]) -> str:
    """Return why a file was rejected, without what the reason says of the file's modality."""
    return re.sub(r"of modality \w+", "of its modality", f"{line['reason']}: {line['detail']}")


def table(head: Kind, kinds: Mapping[Kind, Counter[str]]) -> Iterator[str]:
    """Yield the lines of a table: a kind a row, an outcome a column."""
    ends = [end.value for end in ENDS]
    yield "| " + " | ".join((*head, *ends, "reasons")) + " |"
    yield "|" + "---|" * (len(head) + len(ends) + 1)
    for kind, counts in sorted(kinds.items(), key=lambda each: tuple(map(_in_order, each[0]))):
        cells = [*kind, *(str(counts[end] or "") for end in ends), _reasons(counts)]
        yield "| " + " | ".join(cells) + " |"
    total = sum(kinds.values(), Counter())
    cells = ["all", *[""] * (len(head) - 1), *(str(total[end]) for end in ends), _reasons(total)]
    yield "| " + " | ".join(cells) + " |"


def _in_order(text: str) -> tuple[int, str]:
    return (int(text), "") if text.isdigit() else (0, text)


def _reasons(counts: Counter[str]) -> str:
    slugs = {name[1:]: count for name, count in counts.items() if name.startswith("!")}
    return ", ".join(f"{count} {slug}" for slug, count in sorted(slugs.items()))


def collect(runs: Iterable[tuple[Path, Path]]) -> Iterator[str]:
    """Yield the page: DICOM, everything else, and the reasons at length."""
    dicom: dict[Kind, Counter[str]] = defaultdict(Counter)
    others: dict[Kind, Counter[str]] = defaultdict(Counter)
    reasons: Counter[str] = Counter()
    for export, out in runs:
        for line in read_lines(out):
            kind = kind_of(export, line)
            counts = (dicom if len(kind) == len(DICOM_HEAD) else others)[kind]
            counts[line["outcome"]] += 1
            if line["outcome"] == "rejected":
                counts[f"!{line['reason']}"] += 1
                reasons[reason_of(line)] += 1
    for title, head, kinds in (("DICOM", DICOM_HEAD, dicom), ("Others", OTHER_HEAD, others)):
        if kinds:
            yield from ("", f"## {title}", "", *table(head, kinds))
    yield from ("", "## Reasons", "", "| files | reason |", "|---|---|")
    yield from (f"| {count} | {reason} |" for reason, count in reasons.most_common())


if __name__ == "__main__":
    places = [Path(each) for each in sys.argv[1:]]
    print("\n".join(collect(zip(places[::2], places[1::2], strict=True))))
