"""Labels that are names of folders, and whether names look like classes at all."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from medprotect.errors import ConfigError, MedprotectError
from medprotect.plan.labels.headers import read_headers, read_values
from medprotect.scan.sniff import FORMATS, sniff
from medprotect.scan.walk import Found, Tree, open_found

SPLITS = frozenset({"train", "val", "valid", "validation", "test", "training", "testing"})
"""Names of folders that part an export for learning, and are seen through."""

MOST_FOLDERS = 32
LEAST_IMAGES = 10
_SNIFFED = 64
_HEADERS = 8

_ROLES = re.compile(
    r"image|images|imgs?|images(tr|ts|val)|masks?|labels?|labels(tr|ts)|segs?|segmentations?|"
    r"annotations?|rois?|raw|derivatives|sourcedata|code|anat|func|dwi|fmap|dicoms?|dcm|nifti|nii|"
    r"png|jpe?g|tiff?|clean|protected|originals?"
)
_MODALITIES = re.compile(r"ct|mri?|pet|pt|nm|us|cr|dx|mg|xa|rf|sm|op|oct|ultrasound|x-?ray")
_NO_IMAGES = re.compile(
    r"\.(csv|tsv|txt|json|md|pdf|xml|xlsx?|html?|ya?ml|py|ipynb|log|docx?|bvals?|bvecs?|sha256)$",
    re.IGNORECASE,
)
_ID_WORDS = (
    "sub|subject|ses|session|pat|patient|p|pid|case|id|series|study|scan|vol|volume|exam|"
    "participant|visit|image|img|frame|slice|se|st|acc|accession"
)
_UID = re.compile(r"\d+(\.\d+){3,}")
_DATE = re.compile(
    r"(19|20)\d\d[-_./]?(0[1-9]|1[0-2])([-_./]?[0-3]\d)?|[0-3]?\d[-_.][01]?\d[-_.]\d{2,4}"
)
_HASH = re.compile(r"(?=.*\d)[0-9a-f-]{8,}", re.IGNORECASE)
_NUMBERED = re.compile(r"(.*?)[-_ .]*(\d+)")


def part_by_folder(paths: Sequence[str]) -> dict[str, list[str]]:
    """Return the files of each folder at the level that parts them; nothing where none does.

    It is the first level, seen from above, with more than one name. Levels of which all names are
    `SPLITS` are seen through, and the same names below them are one.
    """
    inside = [path.split("/") for path in paths]
    depth = 0
    while True:
        inside = [parts for parts in inside if len(parts) > depth + 1]
        names = {parts[depth] for parts in inside}
        if not names:
            return {}
        if len(names) > 1 and not {name.casefold() for name in names} <= SPLITS:
            break
        depth += 1
    by_name: dict[str, list[str]] = {}
    for parts in inside:
        by_name.setdefault(parts[depth], []).append("/".join(parts))
    return dict(sorted(by_name.items()))


def label_by_folder(files: Sequence[Found]) -> dict[str, str]:
    """Return the label by file: the name of the folder that parts the export.

    What lies beside those folders has no label.

    Raises
    ------
    ConfigError
        There are no two folders to tell apart.
    """
    by_name = part_by_folder([found.path for found in files if found.unsafe is None])
    if not by_name:
        raise ConfigError(
            "The folders of EXPORT tell no classes apart: all files lie in one, or in one below "
            "train, test and the like. Give --labels a table, with the columns file, label."
        )
    return {path: name for name, paths in by_name.items() for path in paths}


def find_folders(export: Path | Tree, files: Sequence[Found]) -> tuple[dict[str, str], str]:
    """Return the label by file if the names of folders look like classes; else why not.

    Parameters
    ----------
    export : Path or Tree
        Root of the export.
    files : sequence of Found
        All of it. Some of each folder are opened, to see whether they are images.
    """
    may_be = {found.path: found for found in files if _may_be_image(found)}
    by_name = part_by_folder(list(may_be))
    if not by_name:
        return {}, "all images lie in one folder"
    counts = {
        name: _count_images(export, [may_be[path] for path in paths])
        for name, paths in by_name.items()
        if len(by_name) <= MOST_FOLDERS
    }
    by_name = {name: paths for name, paths in by_name.items() if counts.get(name, 1)}
    why = _why_not(list(by_name), counts)
    if not why and _are_patients(export, by_name, may_be):
        why = f"each of the {len(by_name)} folders holds one patient or study"
    if why:
        return {}, why
    return {path: name for name, paths in by_name.items() for path in paths}, ""


def _may_be_image(found: Found) -> bool:
    hidden = any(part.startswith((".", "__MACOSX")) for part in found.path.split("/"))
    return found.unsafe is None and not hidden and not _NO_IMAGES.search(found.path)


def _why_not(names: Sequence[str], counts: Mapping[str, float]) -> str:
    count = len(names)
    if count > MOST_FOLDERS:
        return f"{count:,} folders are more than classes usually are ({MOST_FOLDERS} at most)"
    if count < 2:
        return "all images lie in one folder"
    folded = [name.casefold() for name in names]
    if any(map(_ROLES.fullmatch, folded)):
        return "names of folders say what files are for, and not what images show"
    if all(map(_MODALITIES.fullmatch, folded)):
        return "names of folders are those of modalities"
    if are_identifiers(names):
        return f"names of the {count} folders look like numbers of patients, dates or UIDs"
    mean = sum(counts.values()) / count
    if mean < LEAST_IMAGES:
        return (
            f"the {count} folders hold {mean:.0f} images on average, and classes are taken from "
            f"{LEAST_IMAGES} on"
        )
    return ""


def are_identifiers(names: Sequence[str]) -> bool:
    """Whether most names look like UIDs, dates, numbers of patients or hashes."""
    alike = sum(bool(_looks_like_id(name)) for name in names)
    if alike * 2 >= len(names):
        return True
    numbered = [_NUMBERED.fullmatch(name) for name in names]
    prefixes = {match[1].casefold() for match in numbered if match}
    if None in numbered or len(prefixes) != 1:
        return False
    prefix = prefixes.pop()
    digits = max(len(match[2]) for match in numbered if match)
    return bool(prefix) and (digits >= 3 or re.fullmatch(_ID_WORDS, prefix) is not None)


def _looks_like_id(name: str) -> bool:
    digits = sum(character.isdigit() for character in name)
    mostly = digits >= 3 and digits * 2 > len(name)
    return mostly or "^" in name or any(each.fullmatch(name) for each in (_UID, _DATE, _HASH))


def _count_images(export: Path | Tree, files: Sequence[Found]) -> float:
    """Return about how many are images: of some, spread evenly, the content is looked at."""
    looked = _spread(files, _SNIFFED)
    images = sum(_is_image(export, found) for found in looked)
    return images * len(files) / len(looked) if looked else 0


def _spread(files: Sequence[Found], most: int) -> list[Found]:
    if len(files) <= most:
        return list(files)
    return [files[at * len(files) // most] for at in range(most)]


def _is_image(export: Path | Tree, found: Found) -> bool:
    try:
        with open_found(export, found) as stream:
            return sniff(stream) in FORMATS
    except (MedprotectError, OSError):
        return False


def _are_patients(
    export: Path | Tree, by_name: Mapping[str, Sequence[str]], files: Mapping[str, Found]
) -> bool:
    """Whether some headers of each folder name one patient or study, another in each."""
    for keyword in ("PatientID", "StudyInstanceUID"):
        seen = []
        for paths in by_name.values():
            some = _spread([files[path] for path in paths], _HEADERS)
            values = {
                value
                for _, header in read_headers(export, some, [keyword])
                for value in read_values(header, [keyword])
            }
            seen.append(values)
        if all(len(values) == 1 for values in seen) and len(set.union(*seen)) == len(seen):
            return True
    return False
