"""The plan on the terminal, or as JSON."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from medprotect.cli.naming import bytes_in_words, name_of, seconds_in_words
from medprotect.plan.estimate import estimate_bytes, estimate_seconds, most_vault_bytes
from medprotect.plan.plan import Action, Row
from medprotect.protect.journal import Entry, Outcome
from medprotect.protect.settings import Settings


def show_plan(
    settings: Settings,
    entries: list[Entry],
    *,
    with_names: bool,
    as_json: bool,
    with_vault: bool = False,
) -> None:
    """Print what a run would do with every file, what it would take, and how it adds up."""
    if as_json:
        plan = _as_json(settings, entries, with_names=with_names)
        if with_vault:
            plan["vault_bytes_at_most"] = _vault_bytes(entries)
        print(json.dumps(plan, indent=1))
        return
    for number, entry in enumerate(entries, start=1):
        name = name_of(number, entry, with_names=with_names)
        print(f"{name}  {what_becomes_of(entry)}  {entry.row.kind}  {_because(entry)}".rstrip())
    print()
    for line in in_words(settings, entries, with_vault=with_vault):
        print(line)
    print("nothing was written")


def what_becomes_of(entry: Entry) -> str:
    """Return the word for what a plan does with a file."""
    if entry.outcome in (Outcome.REJECTED, Outcome.HELD, Outcome.LEFT):
        return entry.outcome.value
    return "protect" if entry.row.action is Action.PROTECT else "copy"


def in_words(settings: Settings, entries: list[Entry], *, with_vault: bool = False) -> list[str]:
    """Return the plan in a few lines: counts, pipelines, warnings, size and time."""
    to_do = [entry.row for entry in entries if entry.outcome is Outcome.PLANNED]
    counts = Counter(what_becomes_of(entry) for entry in entries)
    parts = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    lines = [f"{len(entries)} files: {parts}" if entries else "0 files"]
    picked = Counter((row.pipeline, row.why) for row in to_do if row.pipeline)
    lines += [f"pipeline {name}: {n} files ({why})" for (name, why), n in sorted(picked.items())]
    lines += [
        f"measured: {_p_in_words(name, p, settings.strength)}"
        for name, p in _measured_p(settings, to_do).items()
    ]
    warned = Counter(slug for row in to_do for slug in row.warnings)
    lines += [f"warning: {slug} in {n} files" for slug, n in sorted(warned.items())]
    size, seconds = estimate_bytes(to_do), estimate_seconds(to_do, settings.jobs)
    lines.append(
        f"about {bytes_in_words(size)} to write, about {seconds_in_words(seconds)} "
        f"with {settings.jobs} jobs"
    )
    if with_vault:
        lines.append(f"vault: at most about {bytes_in_words(_vault_bytes(entries))}")
    return lines


def _measured_p(settings: Settings, to_do: Iterable[Row]) -> dict[str, Mapping[str, float]]:
    """Return P by strength of each pipeline that is used."""
    used = {row.pipeline for row in to_do}
    p = {each.card.name: each.p for each in settings.candidates if each.card.name in used}
    return dict(sorted(p.items()))


def _p_in_words(name: str, p: Mapping[str, float], strength: str) -> str:
    own = f"{p[strength]:.2f}" if strength in p else "none"
    others = "".join(f", {p[each]:.2f} at {each}" for each in p if each != strength)
    return f"{name} P {own} at {strength}{others}"


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
    return {
        "counts": dict(Counter(what_becomes_of(entry) for entry in entries)),
        "bytes": estimate_bytes(to_do),
        "measured_p": {name: dict(p) for name, p in _measured_p(settings, to_do).items()},
        "seconds": round(estimate_seconds(to_do, settings.jobs), 1),
        "files": [
            {
                "file": number,
                **({"path": entry.path, "out": entry.row.out} if with_names else {}),
                "becomes": what_becomes_of(entry),
                "kind": entry.row.kind,
                "pipeline": entry.row.pipeline,
                "picked_by": entry.row.why,
                "reason": entry.row.reason,
                "detail": entry.row.detail,
                "warnings": entry.row.warnings,
            }
            for number, entry in enumerate(entries, start=1)
        ],
    }
