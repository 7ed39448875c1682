"""The receipt: what the officer keeps, with real paths. It never lies in OUT."""

import json
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import medprotect
from medprotect.confounder.key import Key
from medprotect.confounder.measured import Protection, caveat_in_words, protection_in_words
from medprotect.plan.plan import MASK_BY_NAME
from medprotect.plan.selection import Candidate
from medprotect.protect.atomic import fsync_dir, mapped_errors, write_file
from medprotect.protect.journal import IN_OUT, STATES, Entry, Journal, Outcome
from medprotect.protect.resume import STAGING
from medprotect.protect.settings import Settings
from medprotect.protect.summary import TO_COME, Summary

NAME = "receipt.json"
FORMAT = 2
_BEFORE_PROTECTION = 1
"""Format of receipts that called every file with noise protected, whatever that was worth."""

_KEPT = ("sha256_in", "sha256_out", "size_out", "images", "share", "notes", "remapped")
NOT_FOR_DIAGNOSIS = "not for AI-assisted diagnosis"

_WARNINGS = {
    "patient_identity_not_removed": (
        "the header of {} does not say that the patient's identity was removed; medprotect does "
        "not de-identify"
    ),
    "burned_in_annotation_not_excluded": (
        "the header of {} does not say that no text is burned into the picture"
    ),
    "experimental_modality": (
        "the pipeline of {} was not measured on such images in full size and bit depth"
    ),
    "modality_not_of_pipeline": "the pipeline of {} was not made for their modality",
    "mask_by_name": (
        "because of --mask, {} count as masks although they look like images; they get no noise"
    ),
    "quantitative": "the noise changes the measured values in {}",
}


def write_receipt(settings: Settings, key: Key, journal: Journal, entries: list[Entry]) -> Path:
    """Write the receipt of a run as it stands, in place of an earlier one.

    Raises
    ------
    OutputError, StorageError
        The state folder cannot be written.
    """
    receipt = make_receipt(settings, key, journal, entries)
    path = settings.state / NAME
    # A kill leaves it in staging, which the next run clears.
    partial = settings.state / STAGING / f".medprotect-{secrets.token_hex(8)}.part"
    text = json.dumps(receipt, indent=1, ensure_ascii=False)
    write_file(partial, text.encode("utf-8", "surrogateescape"), mode=0o600)
    with mapped_errors():
        partial.replace(path)
    fsync_dir(settings.state)
    return path


def make_receipt(
    settings: Settings, key: Key, journal: Journal, entries: list[Entry]
) -> dict[str, Any]:
    """Return the receipt as JSON takes it."""
    used = {entry.row.pipeline for entry in entries if entry.outcome is Outcome.PROTECTED}
    picked = [each for each in settings.candidates if each.card.name in used]
    return {
        "format": FORMAT,
        "medprotect": medprotect.__version__,
        "finished": not any(e.outcome in (Outcome.PLANNED, Outcome.STAGED) for e in entries),
        "counts": count(entries),
        "summary": summary_in_words(Summary(entries)),
        "caveat": caveat_in_words(Summary(entries).measured),
        "warnings": dict(count_warnings(entries)),
        "statements": [NOT_FOR_DIAGNOSIS] if any(each.card.codes.decoys for each in picked) else [],
        "strength": settings.strength,
        "key": key.fingerprint,
        "with_labels": bool(settings.labels_sha256),
        **labels_as_json(settings),
        "keep_uids": settings.keep_uids,
        "along_z": settings.along_z,
        "mask_names": asdict(settings.mask_names),
        "largest_share_of_budget": max((e.share for e in entries), default=0.0),
        "pipelines": [_about(each, settings.strength) for each in picked],
        "backend": journal.about("backend"),
        "files": file_lines(entries),
    }


def read_receipt(path: Path) -> dict[str, Any]:
    """Return a receipt as `make_receipt` made it.

    In one that medprotect 0.1.0 wrote, what carries noise is *unmeasured*: it did not say how much
    that was measured to protect. Some of format 2 say no more than `Measured.protection`: they lack
    ``caveat``, and ``measured`` of the pipelines.

    Raises
    ------
    OSError, ValueError, KeyError, TypeError
        It is missing or damaged.
    """
    receipt: dict[str, Any] = json.loads(path.read_bytes().decode("utf-8", "surrogateescape"))
    if receipt["format"] == _BEFORE_PROTECTION:
        unmeasured = Protection.UNMEASURED.value
        for part in (receipt["counts"], *receipt["files"]):
            noisy = part.pop("protected", None)
            if noisy is not None:
                part[unmeasured] = noisy
            if part.get("outcome") == "protected":
                part["outcome"] = unmeasured
        noisy = receipt["counts"].get(unmeasured, 0)
        receipt["summary"] = protection_in_words({None: noisy}) if noisy else NOTHING_IN_OUT
    return receipt


def file_lines(entries: list[Entry]) -> list[dict[str, Any]]:
    """Return what a receipt says of each file."""
    return [_line(number, entry) for number, entry in enumerate(entries, start=1)]


def count(entries: list[Entry]) -> dict[str, int]:
    """Return how many files there are, and how many became what (`Entry.state`)."""
    counts = Counter(entry.state for entry in entries)
    names = (*(each.value for each in TO_COME), *STATES)
    return {"in": len(entries), **{name: counts[name] for name in names if counts[name]}}


NOTHING_IN_OUT = "No image is in OUT."


def summary_in_words(summary: Summary) -> str:
    """Say in one sentence what a model still learns from the files of a run that carry noise."""
    measured = summary.measured
    return protection_in_words(measured) if measured else NOTHING_IN_OUT


def count_warnings(entries: Iterable[Entry]) -> Counter[str]:
    """Return how many files that are, or will be, in OUT got which warning."""
    return Counter(
        slug
        for entry in entries
        for slug in entry.row.warnings
        if entry.outcome in IN_OUT | TO_COME or slug == MASK_BY_NAME
    )


def warn_in_words(counts: Mapping[str, int]) -> list[str]:
    """Return a sentence, without its full stop, for each warning that some files got."""
    return [
        words.format(f"{count:,} file{'' if count == 1 else 's'}")
        for slug, words in _WARNINGS.items()
        if (count := counts.get(slug))
    ]


def labels_as_json(settings: Settings) -> dict[str, Any]:
    """Return where labels are from, for receipt and plan: names of columns, and no values."""
    source = settings.label_source
    if not source.kind:
        return {}
    return {
        "labels": {
            "source": source.kind,
            "words": source.words,
            "columns": list(source.columns),
            "classes": len(settings.classes),
            "asked": source.asked,
            "warnings": list(source.warnings),
        }
    }


def _about(picked: Candidate, strength: str) -> dict[str, Any]:
    card, measured = picked.card, picked.measured.get(strength)
    return {
        "name": card.name,
        "version": card.version,
        "sha256": card.pipeline_sha256,
        "decoys": card.codes.decoys,
        "protection": measured.protection if measured else None,
        "measured": asdict(measured) if measured else None,
        "trained_on": card.training.data,
        "licence": card.training.licence,
        "attribution": card.training.attribution,
    }


def _line(number: int, entry: Entry) -> dict[str, Any]:
    row = entry.row
    line = {
        "file": number,
        "path": entry.path,
        "outcome": entry.state,
        "out": row.out if entry.outcome in IN_OUT else "",
        "kind": row.kind,
        "pipeline": row.pipeline if entry.outcome is Outcome.PROTECTED else "",
        "picked_by": row.why if entry.outcome is Outcome.PROTECTED else "",
        "reason": row.reason or (row.found.unsafe or ""),
        "detail": row.detail,
        "voxels": row.voxels,
        "header": row.header,
        "warnings": row.warnings,
        **{name: value for name, value in asdict(entry).items() if name in _KEPT},
    }
    return {name: value for name, value in line.items() if value or name in ("file", "path")}
