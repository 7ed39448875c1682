"""What `dciodvfy` says of protected files that it does not say of their sources.

`dciodvfy`, of dicom3tools, checks a file against PS3.3. Sources have faults of their own, which
stay, so only what is new counts. Over a folder of DICOM files, protected in memory::

    python -m tests.imaging.dicom.conformance CORPUS

or over an export and what a run made of it::

    python -m tests.imaging.dicom.conformance EXPORT OUT
"""

import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pydicom.uid import ExplicitVRLittleEndian

from medprotect.errors import InputError
from medprotect.imaging import dicom
from medprotect.imaging.dicom.dictionary import tag_of
from medprotect.imaging.dicom.elements import (
    EXPLICIT_LITTLE,
    encode_element,
    put,
    write_elements,
)
from medprotect.imaging.dicom.file import read_bounded
from medprotect.imaging.image import Role

from .conftest import protect

DCIODVFY = shutil.which("dciodvfy", path=Path(sys.executable).parent) or shutil.which("dciodvfy")

ALLOWED = {
    r"Error - Attribute present when condition unsatisfied .* Module=<(MRPulseSequence|"
    r"BulkMotionSynchronization)>": "C.8.13.4 says of derived frames: may be present otherwise",
    r"Error - A value for Value 3 is required for DERIVED images - attribute <ImageType>": (
        "C.8.17.2, ophthalmic photography: no value of it would be true"
    ),
    r"Error - Missing attribute Type 2C .*<SourceImageSequence> .*<OphthalmicPhotographyImage>": (
        "C.8.17.2: it would name the source"
    ),
    r"Error - Tag read failed - Implicit VR encoding even though supposed to be explicit": (
        "of every element, where the source declares another encoding than it is written in"
    ),
    r"Warning - Attribute is not present in standard DICOM IOD - \((0x0008,0x2111|0x0008,0x9215|"
    r"0x0008,0x0100|0x0008,0x0102|0x0008,0x0104)\)": (
        "of enhanced images, which have no derivation at the top: PS3.2 lets them be extended"
    ),
    r"Warning - .* this is a Standard Extended SOP Class": "the same",
    r"Warning - (method inconsistent with Transfer Syntax - attribute <LossyImageCompressionMethod>"
    r" = <ISO_15444_15>|.*<ISO_15444_15> for value 1 of attribute <Lossy Image Compression M)": (
        "the defined term for HTJ2K (C.7.6.1.1.5.1)"
    ),
}
"""What is new and right, and why."""

_SAYS = re.compile(r"\b(?:Error|Warning) - ")
_VALUES = re.compile(
    r"(?<=attribute <PhotometricInterpretation>) = <\w+>|(?<=specified as) \w+ actually \w+"
)


def complaints(data: bytes) -> Counter[str]:
    """What `dciodvfy` says of a file, without the values that protection changes by design."""
    with tempfile.NamedTemporaryFile(suffix=".dcm") as file:
        file.write(inflated(data))
        file.flush()
        assert DCIODVFY is not None
        said = subprocess.run([DCIODVFY, file.name], capture_output=True, check=False)
    lines = (said.stdout + said.stderr).decode("latin-1").splitlines()
    return Counter(_VALUES.sub("", line) for line in lines if _SAYS.search(line))


def inflated(data: bytes) -> bytes:
    """The file, not deflated: `dciodvfy` does not inflate."""
    document = read_bounded(data)
    if not document.is_deflated:
        return data
    syntax = encode_element(
        tag_of("TransferSyntaxUID"), "UI", ExplicitVRLittleEndian.encode(), EXPLICIT_LITTLE
    )
    put(document.meta.elements, tag_of("TransferSyntaxUID"), syntax, EXPLICIT_LITTLE)
    meta = write_elements(document.meta.data, document.meta.elements)
    return document.preamble + meta + document.data_set.data


def new_complaints(original: bytes, protected: bytes) -> Counter[str]:
    return complaints(protected) - complaints(original)


def is_allowed(complaint: str) -> bool:
    return any(re.search(pattern, complaint) for pattern in ALLOWED)


def pairs(corpus: Path, out: Path | None) -> Iterator[tuple[Path, bytes, bytes]]:
    for path in sorted(path for path in corpus.rglob("*") if path.is_file()):
        data = path.read_bytes()
        if out is not None:
            protected = out / path.relative_to(corpus)
            if dicom.is_dicom(data[:132]) and protected.is_file():
                changed = protected.read_bytes()
                if changed != data:
                    yield path, data, changed
            continue
        try:
            if dicom.describe(io.BytesIO(data)).role is Role.IMAGE:
                yield path, data, protect(data)[1].data
        except InputError:
            continue


def main(corpus: Path, out: Path | None = None) -> int:
    """Print what is new, and count it; return how much of it is not allowed."""
    files = 0
    counts: Counter[tuple[str, bool]] = Counter()
    for path, data, protected in pairs(corpus, out):
        files += 1
        for complaint, times in new_complaints(data, protected).items():
            allowed = is_allowed(complaint)
            kind = "error" if "Error - " in complaint else "warning"
            counts[kind, allowed] += times
            if not allowed:
                print(f"{path.relative_to(corpus)}: {complaint}")
    print(f"{files} protected files beside their sources, by {DCIODVFY}")
    for kind in ("error", "warning"):
        print(f"new {kind}s: {counts[kind, False]}, allowed: {counts[kind, True]}")
    return counts["error", False] + counts["warning", False]


if __name__ == "__main__":
    sys.exit(min(main(*map(Path, sys.argv[1:3])), 1))
