"""A DICOM node: takes objects in, protects them batch by batch, and hands them on.

Three things go on at once, and share nothing but folders and the ledger: the server fills the
spool; the main thread makes batches of it and protects them; the forwarder empties OUT. Each begins
again from what lies on the disk, so that a kill costs time alone.
"""

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from medprotect.confounder.key import Key
from medprotect.errors import MedprotectError, OutputError
from medprotect.network.batches import Batches
from medprotect.network.forward import Forwarder
from medprotect.network.ledger import NAME, Fate, Ledger
from medprotect.network.recipient import Recipient
from medprotect.network.server import Listening, listening
from medprotect.network.spool import Spool
from medprotect.protect.atomic import make_folders
from medprotect.protect.lock import hold_lock
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
    ConfigError
        TLS cannot be spoken.
    """
    make_folders(duty.out)
    with ExitStack() as stack:
        stack.enter_context(hold_lock(duty.state))
        ledger = stack.enter_context(Ledger(duty.state))
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
            say(f"batch {number}: {in_words(count_batch(ledger, number))}")
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


def count_batch(ledger: Ledger, number: int) -> dict[str, int]:
    """Return how many objects of a batch became what."""
    fates = [line.fate for line in ledger.lines(number)]
    return {fate.value: fates.count(fate) for fate in Fate if fate in fates}


def count_all(out: Path, state: Path) -> dict[str, object]:
    """Return how many objects a node has taken in, and what became of them; it may be running.

    Raises
    ------
    OutputError
        There is no node.
    """
    if not (state / NAME).is_file():
        raise OutputError("no node has written to OUT; name that of a node")
    with Ledger(state, reading=True) as ledger:
        counts = {fate.value: count for fate, count in ledger.counts().items()}
        incoming = len(Spool(state, ledger).waiting())
        reasons = ledger.reasons()
    counts[Fate.BATCHED] += incoming
    return {"in": sum(counts.values()), **counts, "reasons": reasons}


def in_words(counts: dict[str, int]) -> str:
    """Return a line that adds up."""
    parts = [f"{count} {name}" for name, count in counts.items() if count]
    return f"{sum(counts.values())} in = {' + '.join(parts) or '0'}"


def as_text(counts: dict[str, object], *, as_json: bool) -> str:
    """Return what `count_all` found, for people or machines."""
    if as_json:
        return json.dumps(counts, indent=1)
    reasons = counts["reasons"]
    fates = {name: count for name, count in counts.items() if isinstance(count, int)}
    fates.pop("in")
    lines = (
        [f"rejected: {n} {why}" for why, n in reasons.items()] if isinstance(reasons, dict) else []
    )
    return "\n".join([*lines, in_words(fates)])
