"""How a run goes and how it ends, for whom it tells."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from medprotect.confounder.measured import Measured, Protection
from medprotect.errors import InputError, MedprotectError, VerificationError
from medprotect.protect.journal import Entry, Outcome

TO_COME = frozenset({Outcome.PLANNED, Outcome.STAGED})
"""Outcomes of what a run has still to do."""

SIGNALLED = 128
"""Added to the number of the signal that ended a command, as shells do."""

INCOMPLETE_EXIT_CODE = 4
"""Of a run that is done, and rejected some files, or left weak or unmeasured ones in OUT."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Whom a run tells how it goes; each may do nothing.

    Attributes
    ----------
    planned : callable
        ``planned(entries_so_far)``.
    began : callable
        ``began(entries)``, with what is done already.
    written : callable
        ``written(number, entry)``, for each entry that lies written and waits for its name in OUT.
    done : callable
        ``done(number, entry)``, for each entry whose outcome became known.
    """

    planned: Callable[[int], None] = lambda _count: None
    began: Callable[[list[Entry]], None] = lambda _entries: None
    written: Callable[[int, Entry], None] = lambda _number, _entry: None
    done: Callable[[int, Entry], None] = lambda _number, _entry: None


@dataclass(frozen=True, slots=True)
class Summary:
    """How a run ended.

    Attributes
    ----------
    entries : list of Entry
        All, in the order of the paths.
    told : int
        Number of the signal that came, else 0.
    accept_weak : bool
        Whether weak and unmeasured images in OUT are no failure.
    """

    entries: list[Entry]
    told: int = 0
    accept_weak: bool = False

    @property
    def interrupted(self) -> int:
        """Number of the signal that ended the run early; 0 where nothing was left to do."""
        return self.told if any(entry.outcome in TO_COME for entry in self.entries) else 0

    @property
    def counts(self) -> Counter[Outcome]:
        """How many entries had which outcome."""
        return Counter(entry.outcome for entry in self.entries)

    @property
    def states(self) -> Counter[str]:
        """How many files became what (`Entry.state`)."""
        return Counter(entry.state for entry in self.entries)

    @property
    def measured(self) -> Counter[Measured | None]:
        """How many files in OUT carry noise, by what was measured of it; None where nothing was."""
        noisy = (entry for entry in self.entries if entry.outcome is Outcome.PROTECTED)
        return Counter(entry.row.measured for entry in noisy)

    @property
    def exit_code(self) -> int:
        """What a command that ends so returns; 0 where every image is protected."""
        if self.interrupted:
            return SIGNALLED + self.interrupted
        reasons = {e.row.reason for e in self.entries if e.outcome is Outcome.REJECTED}
        for kind in (MedprotectError, VerificationError):
            if kind.slug in reasons:
                return kind.exit_code
        if self.counts[Outcome.REJECTED]:
            return INCOMPLETE_EXIT_CODE
        if not self.counts[Outcome.PROTECTED]:
            return InputError.exit_code
        is_weak = self.states[Protection.WEAK] or self.states[Protection.UNMEASURED]
        return INCOMPLETE_EXIT_CODE if is_weak and not self.accept_weak else 0
