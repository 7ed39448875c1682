"""The plan on the terminal, or as JSON."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from medprotect.cli.naming import (
    NAMES_HIDDEN,
    bytes_in_words,
    files_in_words,
    name_of,
    seconds_in_words,
)
from medprotect.confounder.measured import Protection, number_in_words, protection_in_words
from medprotect.plan.estimate import estimate_bytes, estimate_seconds, most_vault_bytes
from medprotect.plan.plan import Action, Row
from medprotect.protect.journal import STATES, Entry, Outcome
from medprotect.protect.receipt import NOTHING_IN_OUT, count_warnings, warn_in_words
from medprotect.protect.settings import Settings

_MOST_REASONS = 16
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
    if protections := Counter(row.protection for row in to_do if row.pipeline):
        lines.append(protection_in_words(protections))
    lines += _pipelines_in_words(settings, to_do)
    lines += _left_in_words(entries)
    lines += _reasons_in_words(entries)
    lines += [f"warning: {sentence}" for sentence in warn_in_words(count_warnings(entries))]
    size, seconds = estimate_bytes(to_do), estimate_seconds(to_do, settings.jobs)
    jobs = f"{settings.jobs} job{'' if settings.jobs == 1 else 's'}"
    lines.append(
        f"about {bytes_in_words(size)} to write, about {seconds_in_words(seconds)} with {jobs}"
    )
    if with_vault:
        lines.append(f"vault: at most about {bytes_in_words(_vault_bytes(entries))}")
    return lines


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
            words = _protection_in_words(settings.strength, each.protection)
            if each.protection:
                words += f", measured on {each.card.training.data}"
        number = files_in_words(whys.total())
        lines.append(f"{state.value}: {number} by {name}, {words} ({_listed(whys, _MOST_KINDS)})")
    return lines


def candidates_in_words(settings: Settings) -> list[str]:
    """Say of each pipeline that may be picked how much it protects at the strength of a run."""
    lines = []
    for each in sorted(settings.candidates, key=lambda candidate: candidate.card.name):
        protection = each.protection.get(settings.strength)
        words = _protection_in_words(settings.strength, each.protection)
        line = f"{Protection.of(protection).value}: {each.card.name}, {words}"
        least = settings.at_least
        if least is not None and (protection is None or protection < least):
            line += f"; its images are rejected (--at-least {least:g})"
        lines.append(line)
    return lines


def _protection_in_words(strength: str, protection: Mapping[str, float]) -> str:
    known = strength in protection
    own = f"protection {number_in_words(protection[strength])}" if known else "not measured"
    others = "".join(
        f", {number_in_words(figure)} at {each}"
        for each, figure in protection.items()
        if each != strength
    )
    return f"{own} at {strength}{others}"


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
    protections = Counter(row.protection for row in to_do if row.pipeline)
    return {
        "counts": dict(Counter(entry.becomes for entry in entries)),
        "summary": protection_in_words(protections) if protections else NOTHING_IN_OUT,
        "bytes": estimate_bytes(to_do),
        "protection": {
            each.card.name: dict(each.protection)
            for each in settings.candidates
            if each.card.name in used
        },
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
