"""The plan on the terminal, or as JSON."""

import json
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from medprotect.cli.naming import (
    NAMES_HIDDEN,
    bytes_in_words,
    files_in_words,
    name_of,
    seconds_in_words,
)
from medprotect.confounder.measured import (
    Measured,
    Protection,
    caveat_in_words,
    figures_in_words,
    protection_in_words,
)
from medprotect.plan.estimate import estimate_bytes, estimate_seconds, most_vault_bytes
from medprotect.plan.plan import Action, Row
from medprotect.protect.journal import STATES, Entry, Outcome
from medprotect.protect.receipt import (
    NOTHING_IN_OUT,
    count_warnings,
    labels_as_json,
    warn_in_words,
)
from medprotect.protect.settings import Settings

_MOST_REASONS = 16
_MOST_PARTS = 32
"""More kinds of body parts are hardly classes."""
_MOST_KINDS = 4


def show_plan(
    settings: Settings,
    entries: list[Entry],
    *,
    with_names: bool,
    as_json: bool,
    with_files: bool = False,
    with_vault: bool = False,
    unknown: int = 0,
) -> None:
    """Print what a run would do with the files, what it would take, and how it adds up."""
    if as_json:
        plan = _as_json(settings, entries, with_names=with_names)
        if with_vault:
            plan["vault_bytes_at_most"] = _vault_bytes(entries)
        plan = {"pixels_not_read": unknown, **plan}
        print(json.dumps(plan, indent=1))
        return
    if with_files or with_names:
        for number, entry in enumerate(entries, start=1):
            name = name_of(number, entry, with_names=with_names)
            print(f"{name}  {entry.becomes}  {entry.row.kind}  {_because(entry)}".rstrip())
        print("" if with_names else f"{NAMES_HIDDEN}\n")
    for line in in_words(settings, entries, with_vault=with_vault):
        print(line)
    if not (with_files or with_names):
        print("--files shows each file")
    if unknown:
        print(
            f"the pixels of {unknown} files were not read for this plan; a run may still reject "
            "some of them, and hold their series"
        )
    print("nothing was written")


def in_words(settings: Settings, entries: list[Entry], *, with_vault: bool = False) -> list[str]:
    """Return the plan in at most forty lines: counts, pipelines, reasons, warnings, size, time."""
    to_do = [entry.row for entry in entries if entry.outcome is Outcome.PLANNED]
    counts = Counter(entry.becomes for entry in entries)
    parts = ", ".join(f"{counts[word]} {word}" for word in STATES if counts[word])
    lines = [f"{files_in_words(len(entries))}: {parts}" if entries else "0 files"]
    if measured := Counter(row.measured for row in to_do if row.pipeline):
        lines.append(protection_in_words(measured))
    if caveat := caveat_in_words(measured):
        lines.append(caveat)
    lines += _labels_in_words(settings, to_do)
    lines += _pipelines_in_words(settings, to_do)
    lines += _left_in_words(entries)
    lines += _reasons_in_words(entries)
    if asked := sum(row.otherwise is not None for row in to_do):
        lines.append(
            f"not known yet: {files_in_words(asked)} with colour may turn out to be grey in every "
            "pixel, or not to be; then another pipeline takes them, or none"
        )
    warnings = (*warn_in_words(count_warnings(entries)), *settings.label_source.warnings)
    lines += [f"warning: {sentence}" for sentence in warnings]
    size, seconds = estimate_bytes(to_do), estimate_seconds(to_do, settings.jobs)
    jobs = f"{settings.jobs} job{'' if settings.jobs == 1 else 's'}"
    lines.append(
        f"about {bytes_in_words(size)} to write, about {seconds_in_words(seconds)} with {jobs}"
    )
    if with_vault:
        lines.append(f"vault: at most about {bytes_in_words(_vault_bytes(entries))}")
    return lines


def _labels_in_words(settings: Settings, to_do: Sequence[Row]) -> list[str]:
    """Say which labels the noise says, and why it does not say others that were found."""
    images = [row for row in to_do if row.pipeline]
    known = sum(bool(row.label) for row in images)
    source = settings.label_source
    lines = [f"labels: {reason}" for reason in source.reasons] if known else []
    if known:
        of_all = "" if known == len(images) else f"{known:,} of "
        lines.append(
            f"labels: {source.words or 'as given'}, {len(settings.classes):,} classes, "
            f"{of_all}{files_in_words(len(images))}; protection holds against models that learn "
            "these, and the noise says them to whoever can read it"
        )
    elif not source.asked:
        unsaid: tuple[str, ...] = ()
        if source.kind:
            unsaid = (f"{source.words} may be, but no pipeline that says them protects more",)
        lines += [f"no labels: {reason}" for reason in (*source.reasons, *unsaid, *_hints(to_do))]
    return lines


def _hints(to_do: Sequence[Row]) -> list[str]:
    """Return what in the headers may be labels: never taken unasked, since it seldom is."""
    parts = Counter(row.traits.body_part for row in to_do if row.traits and row.traits.body_part)
    if not 2 <= len(parts) <= _MOST_PARTS:
        return []
    return [
        f"headers name {len(parts)} body parts; if models would learn to tell those apart, "
        "--labels dicom:BodyPartExamined"
    ]


def _pipelines_in_words(settings: Settings, to_do: Sequence[Row]) -> list[str]:
    picked: dict[tuple[str, Protection, bool], Counter[str]] = {}
    for row in to_do:
        if row.pipeline:
            group = (row.pipeline, row.state, row.is_of_pipeline)
            picked.setdefault(group, Counter())[row.why] += 1
    candidates = {each.card.name: each for each in settings.candidates}
    lines = []
    for (name, state, is_own), whys in sorted(picked.items()):
        each = candidates[name]
        words = "not measured on such images"
        if is_own:
            words = _measured_in_words(settings.strength, each.measured)
            if each.measured:
                words += f", measured on {each.card.training.data}"
        number = files_in_words(whys.total())
        lines.append(f"{state.value}: {number} by {name}, {words} ({_listed(whys, _MOST_KINDS)})")
    return lines


def candidates_in_words(settings: Settings) -> list[str]:
    """Say of each pipeline that may be picked how much it protects at the strength of a run."""
    lines = []
    for each in sorted(settings.candidates, key=lambda candidate: candidate.card.name):
        known = each.measured.get(settings.strength)
        protection = known.protection if known else None
        words = _measured_in_words(settings.strength, each.measured)
        line = f"{Protection.of(protection).value}: {each.card.name}, {words}"
        least = settings.at_least
        if least is not None and (protection is None or protection < least):
            line += f"; its images are rejected (--at-least {least:g})"
        lines.append(line)
    return lines


def _measured_in_words(strength: str, measured: Mapping[str, Measured]) -> str:
    """Return what was measured at each strength, that of the run first."""
    known = measured.get(strength)
    own = (
        f"protection {figures_in_words(known, strength)}"
        if known
        else f"not measured at {strength}"
    )
    others = [figures_in_words(found, each) for each, found in measured.items() if each != strength]
    return ", ".join([own, *others])


def measured_as_json(settings: Settings, used: Container[str]) -> dict[str, Any]:
    """Return the figures of the pipelines that are used, by pipeline and strength."""
    return {
        each.card.name: {strength: asdict(found) for strength, found in each.measured.items()}
        for each in settings.candidates
        if each.card.name in used
    }


def _left_in_words(entries: Iterable[Entry]) -> list[str]:
    lines = []
    for outcome, word in ((Outcome.PLANNED, "copied"), (Outcome.LEFT, "left")):
        kinds = Counter(
            entry.row.kind or "not known"
            for entry in entries
            if entry.outcome is outcome and entry.row.action is not Action.PROTECT
        )
        if kinds:
            number = files_in_words(kinds.total())
            lines.append(f"{word}: {number} without an image ({_listed(kinds, 8)})")
    return lines


def _reasons_in_words(entries: Iterable[Entry]) -> list[str]:
    rejected = [entry.row for entry in entries if entry.outcome is Outcome.REJECTED]
    reasons = Counter(f"{row.reason}: {row.detail}" for row in rejected).most_common()
    lines = [f"rejected: {files_in_words(count)}, {why}" for why, count in reasons[:_MOST_REASONS]]
    if rest := reasons[_MOST_REASONS:]:
        files = sum(count for _, count in rest)
        lines.append(f"rejected: {files_in_words(files)} for {len(rest)} other reasons")
    if held := sum(entry.outcome is Outcome.HELD for entry in entries):
        lines.append(
            f"held: {files_in_words(held)}, because another file of the series is rejected"
        )
    return lines


def _listed(counts: Counter[str], most: int) -> str:
    """Return the most frequent words with their counts, and how many others there are."""
    shown = counts.most_common(most)
    words = "; ".join(f"{word}: {count}" if len(counts) > 1 else word for word, count in shown)
    others = counts.total() - sum(count for _, count in shown)
    return f"{words}; others: {others}" if others else words


def _vault_bytes(entries: list[Entry]) -> int:
    return most_vault_bytes(entry.row for entry in entries)


def _because(entry: Entry) -> str:
    row = entry.row
    if entry.outcome is Outcome.REJECTED:
        return f"{row.reason}: {row.detail}"
    if entry.outcome is Outcome.HELD:
        return "another file of its series is rejected"
    return f"{row.pipeline} ({row.why})" if row.pipeline else ""


def _as_json(settings: Settings, entries: list[Entry], *, with_names: bool) -> dict[str, Any]:
    to_do = [entry.row for entry in entries if entry.outcome is Outcome.PLANNED]
    used = {row.pipeline for row in to_do}
    measured = Counter(row.measured for row in to_do if row.pipeline)
    return {
        "counts": dict(Counter(entry.becomes for entry in entries)),
        "summary": protection_in_words(measured) if measured else NOTHING_IN_OUT,
        "caveat": caveat_in_words(measured),
        **labels_as_json(settings),
        "bytes": estimate_bytes(to_do),
        "protection": {
            each.card.name: {at: found.protection for at, found in each.measured.items()}
            for each in settings.candidates
            if each.card.name in used
        },
        "measured": measured_as_json(settings, used),
        "seconds": round(estimate_seconds(to_do, settings.jobs), 1),
        "files": [
            {
                "file": number,
                **({"path": entry.path, "out": entry.row.out} if with_names else {}),
                "becomes": entry.becomes,
                "kind": entry.row.kind,
                "pipeline": entry.row.pipeline,
                "protection": entry.row.protection,
                "picked_by": entry.row.why,
                "reason": entry.row.reason,
                "detail": entry.row.detail,
                "warnings": entry.row.warnings,
            }
            for number, entry in enumerate(entries, start=1)
        ],
    }
