"""What files are that a node or a run has written: how many of which state and protection."""

from collections import Counter

from medprotect.confounder.measured import (
    Measured,
    Protection,
    caveat_in_words,
    protection_in_words,
)
from medprotect.protect.journal import STATES_IN_OUT
from medprotect.protect.receipt import NOTHING_IN_OUT


class Tally(Counter[tuple[str, Measured | None]]):
    """How many files are of which state (`Entry.state`), and what was measured to protect them.

    Examples
    --------
    >>> tally = Tally({("weak", Measured(0.0)): 3, ("copied", None): 1})
    >>> tally.states
    {'weak': 3, 'copied': 1}
    >>> tally.total_in_words("4 sent")
    '4 sent = 3 weak + 1 copied'
    """

    @property
    def states(self) -> dict[str, int]:
        """How many files are of which state, in the order of listings."""
        counts: Counter[str] = Counter()
        for (state, _), count in self.items():
            counts[state] += count
        return {state: counts[state] for state in STATES_IN_OUT if counts[state]}

    @property
    def summary(self) -> str:
        """One sentence that says what a model still learns from those that carry noise."""
        measured = self._measured
        return protection_in_words(measured) if measured else NOTHING_IN_OUT

    @property
    def caveat(self) -> str:
        """One sentence that says to what protection falls; "" where nothing is to be said."""
        return caveat_in_words(self._measured)

    @property
    def _measured(self) -> Counter[Measured | None]:
        counts: Counter[Measured | None] = Counter()
        for (state, measured), count in self.items():
            if state in _NOISY:
                counts[measured] += count
        return counts

    def total_in_words(self, total: str) -> str:
        """Return a line that adds up to a total that is put in words."""
        return f"{total} = {' + '.join(f'{n} {state}' for state, n in self.states.items())}"


_NOISY = frozenset(each.value for each in Protection)
