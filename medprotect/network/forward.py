"""Forwarding: what lies protected in OUT goes to the peer, as often as it takes."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from medprotect.errors import MedprotectError
from medprotect.network.ledger import Fate, Ledger, Line
from medprotect.network.recipient import Recipient
from medprotect.protect.atomic import mapped_errors
from medprotect.scan.walk import join_under, walk

_LONGEST_SECONDS = 3600.0
_POLL_SECONDS = 0.5


class Forwarder:
    """Sends what is protected, and removes it from OUT once the peer has it.

    An object may be sent twice where we are killed before the ledger says that the peer has it;
    it has the same UID and the same bytes then.

    Parameters
    ----------
    out : Path
        Where protected objects lie.
    ledger : Ledger
        Of the node.
    peer : Recipient
        Who gets them.
    retry_seconds : float
        How long to wait for a peer that is away; for an object that it refuses, longer each time.
    say : callable
        Told how it goes, without names.
    """

    def __init__(
        self,
        out: Path,
        ledger: Ledger,
        peer: Recipient,
        retry_seconds: float,
        say: Callable[[str], None],
    ) -> None:
        self._out, self._ledger, self._peer = out, ledger, peer
        self._retry, self._say = retry_seconds, say
        self._refused: dict[str, tuple[int, float]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._go, name="forward", daemon=True)

    def __enter__(self) -> None:
        self._remove_forwarded()
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _remove_forwarded(self) -> None:
        """Remove what the peer has, and a kill left in OUT."""
        for found in walk(self._out):
            if self._ledger.is_forwarded(found.path):
                self._remove(found.path)

    def _go(self) -> None:
        told = ""
        while not self._stopping.is_set():
            pause = _POLL_SECONDS
            try:
                self._forward()
                told = ""
            except Exception as error:  # this thread must outlive whatever is wrong just now
                words = str(error) if isinstance(error, MedprotectError) else type(error).__name__
                if words != told:  # once, however long a peer is away
                    self._say(f"forwarding waits: {words}")
                told, pause = words, self._retry
            self._stopping.wait(pause)

    def _forward(self) -> None:
        """Send once all that is due."""
        now = time.monotonic()
        lines = {
            join_under(self._out, line.place): line
            for line in self._ledger.waiting()
            if self._refused.get(line.name, (0, 0.0))[1] <= now
        }
        for path, line in lines.items():
            if not path.is_file():
                self._ledger.mark(line.name, Fate.MISSING)
                self._say("an object is gone from OUT that was not forwarded yet")
        became: Counter[str] = Counter()
        try:
            for path, refusal in self._peer.send([path for path in lines if path.is_file()]):
                became[refusal] += 1
                self._settle(lines[path], refusal)
                if self._stopping.is_set():
                    break
        finally:
            self._tell(became)

    def _settle(self, line: Line, refusal: str) -> None:
        if refusal:
            tries = self._refused.get(line.name, (0, 0.0))[0]
            pause = min(self._retry * 2**tries, _LONGEST_SECONDS)
            self._refused[line.name] = tries + 1, time.monotonic() + pause
            return
        self._ledger.mark(line.name, Fate.FORWARDED)
        self._refused.pop(line.name, None)
        self._remove(line.place)

    def _remove(self, place: str) -> None:
        path = join_under(self._out, place)
        with mapped_errors():
            path.unlink(missing_ok=True)

    def _tell(self, became: Counter[str]) -> None:
        if became[""]:
            self._say(f"{became['']} forwarded")
        for refusal, count in became.items():
            if refusal:
                self._say(f"{count} not taken by the peer ({refusal}); they stay in OUT")
