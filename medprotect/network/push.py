"""Pushing: what a run or a node wrote to OUT, and nothing else, goes to a peer."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from medprotect.confounder.measured import Measured
from medprotect.errors import OutputError
from medprotect.network.ledger import Ledger
from medprotect.network.receipt import is_of_node, tell
from medprotect.network.recipient import Recipient
from medprotect.network.tally import Tally
from medprotect.protect.journal import IN_OUT, NAME, Journal, Outcome
from medprotect.protect.lock import hold_lock
from medprotect.protect.protectable import sha256_of
from medprotect.scan.walk import join_under

SENT, CHANGED = "sent", "not_as_written"


@dataclass(frozen=True, slots=True)
class Pushed:
    """What came of pushing.

    Attributes
    ----------
    became : Counter of str
        How many files of OUT were sent, or what kept them from it.
    sent : Tally
        What those are that were sent.
    """

    became: Counter[str] = field(default_factory=Counter)
    sent: Tally = field(default_factory=Tally)


@dataclass(frozen=True, slots=True)
class _Written:
    """A file of OUT, as it was written."""

    path: Path
    sha256: str
    state: str
    measured: Measured | None

    def is_there(self) -> bool:
        """Whether it lies there with the bytes that were written."""
        if self.path.is_symlink() or not self.path.is_file():
            return False
        with self.path.open("rb") as stream:
            return sha256_of(stream) == self.sha256


def push(out: Path, state: Path, peer: Recipient) -> Pushed:
    """Send to a peer what a run or a node has written; return what came of it.

    Only files that the journal or ledger knows, with the bytes it knows: neither an export that
    was named by mistake nor a file that somebody put into OUT leaves the house by this way. The
    node may be running.

    Raises
    ------
    OutputError
        OUT is not that of a run or node, or a run works on it.
    PeerError
        The peer is away.
    """
    if is_of_node(state):
        return _send(_by_node(out, state), peer)
    if not (state / NAME).is_file():
        raise OutputError("no run or node wrote OUT; only what one wrote can be pushed")
    with hold_lock(state):
        return _send(_by_run(out, state), peer)


def _send(written: list[_Written], peer: Recipient) -> Pushed:
    files = {each.path: each for each in written if each.is_there()}
    pushed = Pushed()
    if changed := len(written) - len(files):
        pushed.became[CHANGED] = changed
    for path, refusal in peer.send(list(files)):
        pushed.became[refusal or SENT] += 1
        if not refusal:
            pushed.sent[files[path].state, files[path].measured] += 1
    return pushed


def _by_run(out: Path, state: Path) -> list[_Written]:
    with Journal(state) as journal:
        return [
            _Written(
                join_under(out, entry.row.out),
                entry.sha256_out,
                entry.state,
                entry.row.measured if entry.outcome is Outcome.PROTECTED else None,
            )
            for entry in journal.entries()
            if entry.outcome in IN_OUT
        ]


def _by_node(out: Path, state: Path) -> list[_Written]:
    with Ledger(state, reading=True) as ledger:
        lines = ledger.waiting()
    return [
        _Written(join_under(out, line.place), each["sha256_out"], line.outcome, line.measured)
        for _, told in tell(state, lines)
        for line, each in told
    ]
