"""Pushing: what a run wrote to OUT, and nothing else, goes to a peer."""

from collections import Counter
from pathlib import Path

from medprotect.errors import OutputError
from medprotect.network.recipient import Recipient
from medprotect.protect.journal import IN_OUT, NAME, Entry, Journal
from medprotect.protect.lock import hold_lock
from medprotect.protect.protectable import sha256_of
from medprotect.scan.walk import join_under

SENT, CHANGED = "sent", "not_as_written"


def push(out: Path, state: Path, peer: Recipient) -> Counter[str]:
    """Send to a peer what a run has written; return how many files became what.

    Only files that the journal knows, with the bytes it knows: neither an export that was named
    by mistake nor a file that somebody put into OUT leaves the house by this way.

    Raises
    ------
    OutputError
        OUT is not that of a run, or a run works on it.
    PeerError
        The peer is away.
    """
    if not (state / NAME).is_file():
        raise OutputError("no run is known to have written OUT; only what a run wrote is pushed")
    with hold_lock(state), Journal(state) as journal:
        entries = [entry for entry in journal.entries() if entry.outcome in IN_OUT]
        became: Counter[str] = Counter()
        files = []
        for entry in entries:
            path = join_under(out, entry.row.out)
            if _is_as_written(path, entry):
                files.append(path)
            else:
                became[CHANGED] += 1
        for _, refusal in peer.send(files):
            became[refusal or SENT] += 1
    return became


def _is_as_written(path: Path, entry: Entry) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as stream:
        return sha256_of(stream) == entry.sha256_out
