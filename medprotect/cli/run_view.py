"""A run on the terminal: what it will do, how it goes, how it ended."""

import json
import shlex
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from medprotect import __version__
from medprotect.cli.naming import NAMES_HIDDEN, SHOWN, name_of
from medprotect.cli.plan_view import in_words, measured_as_json
from medprotect.cli.progress_view import ProgressView
from medprotect.cli.vault_view import vault_as_json, vault_in_words
from medprotect.confounder.key import Key
from medprotect.confounder.measured import Protection, caveat_in_words
from medprotect.errors import MedprotectError
from medprotect.plan.estimate import estimate_seconds
from medprotect.protect.defaults import state_beside
from medprotect.protect.journal import STATES, STATES_IN_OUT, Entry, Outcome
from medprotect.protect.receipt import (
    NAME,
    NOT_FOR_DIAGNOSIS,
    count_warnings,
    labels_as_json,
    summary_in_words,
    warn_in_words,
)
from medprotect.protect.settings import Settings
from medprotect.protect.summary import INCOMPLETE_EXIT_CODE, TO_COME, Progress, Summary

if TYPE_CHECKING:
    from medprotect.vault.make import Made

_COPY_SECONDS = 0.01


class RunView:
    """Shows a run: on standard error while it goes, on standard output when it is done.

    Parameters
    ----------
    settings : Settings
        Of the run.
    key : Key
        The owner's.
    key_made : Path or None
        Where the key was made, if it was made for this run.
    with_names, as_json : bool
        As on the command line.
    vault : Path or None
        The vault that is made afterwards.
    """

    def __init__(
        self,
        settings: Settings,
        key: Key,
        key_made: Path | None,
        *,
        with_names: bool,
        as_json: bool,
        vault: Path | None = None,
    ) -> None:
        self._settings, self._key, self._key_made = settings, key, key_made
        self._with_names, self._as_json, self._vault = with_names, as_json, vault
        self._shown = ProgressView("planning", settings.jobs)
        self._worked: set[int] = set()
        self._seconds = self._all_seconds = 0.0
        self._total = 0

    @property
    def progress(self) -> Progress:
        """What the run is to call."""
        return Progress(self._planned, self._start, self._advance, self._advance)

    def __enter__(self) -> Self:
        self._shown.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._shown.__exit__(kind, error, trace)

    def _planned(self, count: int) -> None:
        self._shown.show("planning", count, None)

    def _start(self, entries: list[Entry]) -> None:
        lines = [f"medprotect {__version__}, key {self._key.fingerprint}"]
        if self._key_made:
            lines.append(f"a new key was made in {self._key_made}")
            lines.append("copy it to another disk: medprotect key backup FILE")
        for line in [*lines, *in_words(self._settings, entries, with_vault=bool(self._vault))]:
            self._shown.say(line)
        self._shown.say("pixels are not read yet; some images may still be rejected")
        to_come = [entry for entry in entries if entry.outcome in TO_COME]
        self._total, self._all_seconds = len(to_come), sum(map(_seconds_of, to_come))
        self._shown.show("adding noise", 0, self._total)

    def _advance(self, number: int, entry: Entry) -> None:
        """Count a file once: when it is written, or when its fate is known without that."""
        if number not in self._worked:
            self._worked.add(number)
            self._seconds += _seconds_of(entry)
            share = min(self._seconds / self._all_seconds, 1.0)
            self._shown.show("adding noise", len(self._worked), self._total, share)

    def keeping(self, words: str, done: int, total: int) -> None:
        """Show how far the vault is."""
        self._shown.show(f"vault: {words}", done, total)

    def show_end(self, summary: Summary, kept: "Made | MedprotectError | None" = None) -> None:
        """Print what became of the files, and of the vault."""
        if self._as_json:
            vault = {"vault": vault_as_json(self._vault, kept)} if self._vault else {}
            print(json.dumps({**self._json(summary), **vault}, indent=1))
            return
        self._show_rejected(summary)
        warnings = warn_in_words(count_warnings(summary.entries))
        for sentence in [*warnings, *self._settings.label_source.warnings]:
            print(f"warning: {sentence}")
        if _has_decoys(self._settings, summary):
            print(f"OUT is {NOT_FOR_DIAGNOSIS}: its noise also misleads models trained before")
        if summary.interrupted:
            print("interrupted; give the same command again to continue")
        for line in vault_in_words(self._vault, kept):
            print(line)
        print(f"receipt: {self._settings.state / NAME}")
        if self._settings.out_tree is None:
            print(f"report: {_report_command(self._settings)}")
        if summary.exit_code == INCOMPLETE_EXIT_CODE and _is_weak(summary):
            print(_WEAK)
        print("\n".join(totals_in_words(summary)))

    def _show_rejected(self, summary: Summary) -> None:
        rejected = [
            (number, entry)
            for number, entry in enumerate(summary.entries, start=1)
            if entry.outcome is Outcome.REJECTED
        ]
        for number, entry in rejected[:SHOWN]:
            name = name_of(number, entry, with_names=self._with_names)
            print(f"rejected: {name}: {entry.row.reason}: {entry.row.detail}")
        if len(rejected) > SHOWN:
            reasons = Counter(entry.row.reason for _, entry in rejected)
            words = ", ".join(f"{n} {reason}" for reason, n in reasons.most_common())
            print(f"rejected: {len(rejected)} files in all, the first {SHOWN} are shown: {words}")
        if rejected and not self._with_names:
            print(NAMES_HIDDEN)

    def _json(self, summary: Summary) -> dict[str, Any]:
        return {
            "exit_code": summary.exit_code,
            "interrupted": bool(summary.interrupted),
            "counts": {
                "in": len(summary.entries),
                **summary.states,
            },
            "summary": summary_in_words(summary),
            "caveat": caveat_in_words(summary.measured),
            "measured": measured_as_json(self._settings, _used(summary)),
            **labels_as_json(self._settings),
            "not_for_diagnosis": _has_decoys(self._settings, summary),
            "key": self._key.fingerprint,
            "key_made": str(self._key_made) if self._key_made else None,
            "receipt": str(self._settings.state / NAME),
            "files": [
                {
                    "file": number,
                    **({"path": e.path, "out": e.row.out} if self._with_names else {}),
                    "outcome": e.state,
                    "kind": e.row.kind,
                    "pipeline": e.row.pipeline if e.outcome is not Outcome.REJECTED else "",
                    "protection": e.row.protection if e.outcome is not Outcome.REJECTED else None,
                    "reason": e.row.reason,
                    "share_of_budget": e.share,
                    "notes": e.notes,
                    "warnings": e.row.warnings,
                }
                for number, e in enumerate(summary.entries, start=1)
            ],
        }


_WEAK = (
    "weak or unmeasured images are in OUT, so the exit code is 4; --accept-weak accepts them, "
    "--at-least 0.5 keeps them out"
)


def _is_weak(summary: Summary) -> bool:
    states = summary.states
    return bool(states[Protection.WEAK] or states[Protection.UNMEASURED])


def totals_in_words(summary: Summary) -> list[str]:
    """Return the lines that close every run; each adds up.

    The first says what became of all files, then come what a model still learns from those with
    noise and to what protection falls, where that is known; the last says what files in OUT are.
    """
    states = summary.states
    written = sum(states[state] for state in STATES_IN_OUT)
    parts = [f"{written} in OUT"]
    parts += [f"{states[state]} {state}" for state in STATES if state not in STATES_IN_OUT]
    if to_come := sum(states[outcome] for outcome in TO_COME):
        parts.append(f"{to_come} to come")
    lines = [f"{len(summary.entries)} in = {' + '.join(parts)}"]
    if written:
        parts = [f"{states[state]} {state}" for state in STATES_IN_OUT if states[state]]
        sentences = (summary_in_words(summary), caveat_in_words(summary.measured))
        lines += [each for each in sentences if each]
        lines.append(f"{written} in OUT = {' + '.join(parts)}")
    return lines


def _report_command(settings: Settings) -> str:
    """Return the command that writes the report of a run."""
    words = ["medprotect", "report", str(settings.out)]
    if settings.export_tree is None:
        words += ["--export", str(settings.export)]
    if settings.state.resolve() != state_beside(settings.out).resolve():
        words += ["--state", str(settings.state)]
    return shlex.join(words)


def _seconds_of(entry: Entry) -> float:
    """Return how long an entry takes beside others, roughly; what is only copied takes a little."""
    return estimate_seconds([entry.row], jobs=1) + _COPY_SECONDS


def _has_decoys(settings: Settings, summary: Summary) -> bool:
    used = _used(summary)
    return any(each.card.codes.decoys for each in settings.candidates if each.card.name in used)


def _used(summary: Summary) -> set[str]:
    return {e.row.pipeline for e in summary.entries if e.outcome is Outcome.PROTECTED}
