"""A batch of what a node received: a run of its own, and then each object to its place."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from medprotect.confounder.key import Key
from medprotect.errors import StateMismatchError
from medprotect.network.ledger import Fate, Ledger, Line
from medprotect.network.spool import Spool
from medprotect.protect.atomic import publish
from medprotect.protect.engine import protect_export
from medprotect.protect.journal import IN_OUT, Entry, Outcome
from medprotect.protect.settings import Settings
from medprotect.protect.summary import Summary
from medprotect.scan.walk import join_under


class Batches:
    """Protects batches, and gives what came of them its places.

    Parameters
    ----------
    settings : Settings
        Of the runs; export, OUT and state are each batch's own.
    key : Key
        The owner's.
    out : Path
        Where protected objects go.
    spool, ledger
        Of the node.
    """

    def __init__(
        self, settings: Settings, key: Key, out: Path, spool: Spool, ledger: Ledger
    ) -> None:
        self._settings, self._key, self._out = settings, key, out
        self._spool, self._ledger = spool, ledger

    def finish(self, number: int) -> int:
        """Bring a batch to its end, from wherever it is; return the signal that stopped it, or 0.

        Raises
        ------
        MedprotectError
            The run cannot go on now; the batch can later.
        """
        told = 0
        if any(line.fate is None for line in self._ledger.lines(number)):
            self._spool.fill(number)
            summary = self._protect(number)
            if summary.interrupted:
                return summary.interrupted
            told = summary.told
            for entry in summary.entries:
                self._ledger.remember_uids(entry.uids)
            self._ledger.decide(list(self._decide(number, summary.entries)))
        for line in self._ledger.lines(number):
            self._place(number, line)
        self._ledger.close(number)
        self._spool.clear_batch(number)
        return told

    def _protect(self, number: int) -> Summary:
        folder = self._spool.batch(number)
        settings = replace(
            self._settings,
            export=folder / "export",
            out=folder / "out",
            state=folder / "state",
            earlier_uid=self._ledger.new_uid,
        )
        try:
            return protect_export(settings, self._key)
        except StateMismatchError:  # stopped under other settings; nothing of it went on yet
            return protect_export(settings, self._key, begin_anew=True)

    def _decide(self, number: int, entries: list[Entry]) -> Iterator[Line]:
        names: set[str] = set()
        for entry in entries:
            if entry.outcome in IN_OUT:
                written = join_under(self._spool.batch(number) / "out", entry.row.out)
                place = place_of(written)
                if place in names or self._ledger.taken(place):  # other bytes under one UID
                    place = place.removesuffix(".dcm") + f"-{Path(entry.path).stem[:12]}.dcm"
                names.add(place)
                noisy = entry.outcome is Outcome.PROTECTED
                measured = entry.row.measured if noisy else None
                yield Line(entry.path, Fate.IN_OUT, place, outcome=entry.state, measured=measured)
            else:
                left = entry.outcome is Outcome.LEFT
                fate = Fate.LEFT if left else Fate.REJECTED
                yield Line(entry.path, fate, reason=entry.row.reason or entry.outcome)

    def _place(self, number: int, line: Line) -> None:
        folder = self._spool.batch(number)
        if line.fate is Fate.IN_OUT:
            written = folder / "out" / line.name
            if written.exists():
                publish(written, join_under(self._out, line.place), replace=True)
        elif line.fate is not None:
            self._spool.set_aside(folder / "export" / line.name, line.fate)


def place_of(file: Path) -> str:
    """Return the path in OUT of a protected object: study, series and instance, by their UIDs."""
    from pydicom import dcmread

    tags: list[Any] = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]
    header = dcmread(file, stop_before_pixels=True, specific_tags=tags, force=True)
    parts = [str(header.get(tag, "")) for tag in tags]
    # A UID that is none could name a place outside OUT.
    safe = [part if part and set(part) <= set("0123456789.") else "none" for part in parts]
    return "/".join(part.strip(".")[:64] or "none" for part in safe) + ".dcm"
