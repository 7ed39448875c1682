"""A DICOM node: takes objects in, protects them batch by batch, and hands them on.

Three things go on at once, and share nothing but folders and the ledger: the server fills the
spool; the main thread makes batches of it and protects them; the forwarder empties OUT. Each begins
again from what lies on the disk, so that a kill costs time alone.
"""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from medprotect.confounder.key import Key
from medprotect.errors import MedprotectError, OutputError
from medprotect.network.batches import Batches
from medprotect.network.forward import Forwarder
from medprotect.network.ledger import Fate, Ledger, Line
from medprotect.network.receipt import is_of_node, read_batch
from medprotect.network.recipient import Recipient
from medprotect.network.server import Listening, listening
from medprotect.network.spool import Spool
from medprotect.network.tally import Tally
from medprotect.protect.atomic import make_folders
from medprotect.protect.lock import hold_lock
from medprotect.protect.receipt import warn_in_words
from medprotect.protect.settings import Settings

_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """What a node is to do.

    Attributes
    ----------
    out, state : Path
        Where protected objects go, and everything else.
    where : Listening
        Whom it listens to.
    peer : Recipient or None
        Whom it forwards to; None to leave everything in OUT.
    settle_seconds : float
        How long nothing must have come before a batch is made.
    retry_seconds : float
        How long to wait before what failed is tried again.
    again : bool
        Whether what was rejected is to be tried again.
    """

    out: Path
    state: Path
    where: Listening = field(default_factory=Listening)
    peer: Recipient | None = None
    settle_seconds: float = 5
    retry_seconds: float = 30
    again: bool = False


def serve(duty: Duty, settings: Settings, key: Key, say: Callable[[str], None]) -> int:
    """Serve until told to stop; return the signal that did.

    Parameters
    ----------
    duty : Duty
        What to do.
    settings : Settings
        How to protect.
    key : Key
        The owner's.
    say : callable
        Told how it goes, without names.

    Raises
    ------
    OutputError
        OUT, its state folder or the port cannot be used, or another node has them.
    StateMismatchError
        The node had another key.
    ConfigError
        TLS cannot be spoken.
    """
    make_folders(duty.out)
    with ExitStack() as stack:
        stack.enter_context(hold_lock(duty.state))
        ledger = stack.enter_context(Ledger(duty.state))
        ledger.claim_key(key.fingerprint)
        spool = Spool(duty.state, ledger)
        spool.clear()
        if duty.again:
            say(f"{spool.take_back()} rejected objects are tried again")
        batches = Batches(settings, key, duty.out, spool, ledger)
        stop = stack.enter_context(_stopping())
        if duty.peer:
            forwarder = Forwarder(duty.out, ledger, duty.peer, duty.retry_seconds, say)
            stack.enter_context(forwarder)
        stack.enter_context(listening(duty.where, spool))
        say(f"listening on {duty.where.address}:{duty.where.port} as {duty.where.title}")
        while not stop.number:
            _go_on(duty, spool, ledger, batches, stop, say)
    return stop.number


def _go_on(
    duty: Duty,
    spool: Spool,
    ledger: Ledger,
    batches: Batches,
    stop: "_Stop",
    say: Callable[[str], None],
) -> None:
    """Bring one batch to its end, or wait a little."""
    try:
        number = ledger.open_batch()
        waiting = [] if number else spool.waiting()
        if not number and spool.is_settled(waiting, duty.settle_seconds):
            number = spool.gather(waiting)
        if not number:
            stop.wait(_POLL_SECONDS)
            return
        stop.number = batches.finish(number) or stop.number
        if ledger.open_batch() != number:
            warnings = read_batch(duty.state, number)["warnings"]
            for words in warn_in_words(warnings):
                say(f"batch {number}: warning: {words}")
            for words in Standing.of_batch(ledger.lines(number)).in_words():
                say(f"batch {number}: {words}")
    except MedprotectError as error:
        say(f"protecting waits: {error}")
        stop.wait(duty.retry_seconds)
    except KeyboardInterrupt as error:  # before a run had begun its work
        stop.number = error.args[0] if error.args else signal.SIGINT


class _Stop:
    """The signal that ends the node, where one came."""

    def __init__(self) -> None:
        self.number = 0

    def wait(self, seconds: float) -> None:
        """Wait, unless the node is to end."""
        end = time.monotonic() + seconds
        while not self.number and time.monotonic() < end:
            time.sleep(min(_POLL_SECONDS, seconds))


@contextmanager
def _stopping() -> Iterator[_Stop]:
    """Take SIGINT and SIGTERM as a wish to end, but while a run takes them itself."""
    stop = _Stop()

    def note(number: int, _frame: object) -> None:
        stop.number = number

    before = {each: signal.signal(each, note) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True, slots=True)
class Standing:
    """What became of objects: of a batch, or of all.

    Attributes
    ----------
    fates : dict of str to int
        How many have come how far (`Fate`).
    reasons : dict of str to int
        How many were rejected for which reason.
    written : Tally
        What those are that were written to OUT.
    """

    fates: dict[str, int]
    reasons: dict[str, int]
    written: Tally

    @classmethod
    def of_batch(cls, lines: list[Line]) -> Self:
        """Count the objects of a batch that is done."""
        return cls(
            Counter(line.fate.value for line in lines if line.fate),
            Counter(line.reason for line in lines if line.fate is Fate.REJECTED),
            Tally((line.outcome, line.measured) for line in lines if line.outcome),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the counts; `in` is the sum of those of `fates`."""
        return {
            "in": sum(self.fates.values()),
            **self.fates,
            "reasons": self.reasons,
            "states": self.written.states,
            "summary": self.written.summary,
            "caveat": self.written.caveat,
        }

    def in_words(self) -> list[str]:
        """Return lines, the last of which add up."""
        fates = {fate.value: self.fates.get(fate, 0) for fate in Fate}
        parts = [f"{count} {_WORDS.get(fate, fate)}" for fate, count in fates.items() if count]
        lines = [f"rejected: {count} {reason}" for reason, count in self.reasons.items()]
        lines.append(f"{sum(fates.values())} in = {' + '.join(parts) or '0'}")
        if total := self.written.total():
            sentences = (self.written.summary, self.written.caveat)
            lines += [each for each in sentences if each]
            lines.append(self.written.total_in_words(f"{total} written to OUT"))
        return lines


_WORDS = {Fate.IN_OUT.value: "in OUT"}


def count_all(out: Path, state: Path) -> Standing:
    """Count all objects that a node has taken in; it may be running.

    Raises
    ------
    OutputError
        There is no node.
    StateMismatchError
        It was one of another version.
    """
    if not is_of_node(state):
        raise OutputError("no node has written to OUT; name the OUT of a node")
    with Ledger(state, reading=True) as ledger:
        fates = {fate.value: count for fate, count in ledger.counts().items()}
        fates[Fate.BATCHED] += len(Spool(state, ledger).waiting())
        return Standing(fates, ledger.reasons(), ledger.tally())
