"""The receipt of a node: what the receipts of its batches say, of each object where it came last.

Settings may differ from batch to batch, for a node may be started again with others; but not the
key. It may be read beside the node that goes on.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from medprotect.errors import OutputError
from medprotect.network.ledger import NAME as LEDGER
from medprotect.network.ledger import Fate, Ledger, Line
from medprotect.network.spool import Spool, batch_folder
from medprotect.network.tally import Tally
from medprotect.plan.plan import MASK_BY_NAME
from medprotect.protect.journal import STATES, STATES_IN_OUT, Outcome
from medprotect.protect.receipt import FORMAT, NAME, read_receipt


def is_of_node(state: Path) -> bool:
    """Whether a state folder is that of a node."""
    return (state / LEDGER).is_file()


def read_batch(state: Path, number: int) -> dict[str, Any]:
    """Return the receipt of a batch that is done.

    Raises
    ------
    OutputError
        It is missing or damaged.
    """
    try:
        return read_receipt(batch_folder(state, number) / "state" / NAME)
    except (OSError, ValueError, KeyError, TypeError):
        raise OutputError(
            f"The receipt of batch {number} is missing or damaged: restore the state folder of OUT "
            "from a copy."
        ) from None


def tell(
    state: Path, lines: Iterable[Line]
) -> Iterator[tuple[dict[str, Any], list[tuple[Line, dict[str, Any]]]]]:
    """Yield the receipt of each batch; and objects, each with what the receipt says of it.

    Parameters
    ----------
    state : Path
        Of the node.
    lines : iterable of Line
        Of objects whose batch is done, by batch.

    Raises
    ------
    OutputError
        A receipt is missing or damaged.
    """
    for number, of_batch in groupby(lines, attrgetter("batch")):
        receipt = read_batch(state, number)
        files = {each["path"]: each for each in receipt["files"]}
        try:
            told = [(line, files[line.name]) for line in of_batch]
        except KeyError:
            raise OutputError(
                f"The receipt of batch {number} lacks an object: restore the state folder of OUT "
                "from a copy."
            ) from None
        yield receipt, told


def node_receipt(state: Path) -> dict[str, Any]:
    """Return what a run says in its receipt, of all objects that a node has received.

    Besides, ``forwarded`` is how many of them a peer has taken; they are no more in OUT. Objects
    that wait are counted as ``planned``, and not among ``files``.

    Raises
    ------
    OutputError
        There is no such node, or a receipt of a batch is missing or damaged.
    StateMismatchError
        The ledger is of another version.
    """
    with Ledger(state, reading=True) as ledger:
        lines = ledger.settled()
        reached = ledger.counts()
        waiting = reached[Fate.BATCHED] + len(Spool(state, ledger).waiting())
    receipts, files, tally = [], [], Tally()
    for receipt, told in tell(state, lines):
        receipts.append({name: receipt[name] for name in receipt if name != "files"})
        files += [each for _, each in told]
        tally.update((each["outcome"], line.measured) for line, each in told)
    return {
        "format": FORMAT,
        **_joined(receipts),
        "finished": not waiting,
        "forwarded": reached[Fate.FORWARDED],
        "counts": _count(files, waiting),
        "summary": tally.summary,
        "caveat": tally.caveat,
        "warnings": _count_warnings(files),
        "largest_share_of_budget": max((each.get("share", 0.0) for each in files), default=0.0),
        "files": [{**each, "file": number} for number, each in enumerate(files, start=1)],
    }


def _count(files: list[dict[str, Any]], waiting: int) -> dict[str, int]:
    counts = Counter(str(each["outcome"]) for each in files)
    counts[Outcome.PLANNED] = waiting
    names = (Outcome.PLANNED.value, *STATES)
    return {"in": counts.total(), **{name: counts[name] for name in names if counts[name]}}


def _count_warnings(files: list[dict[str, Any]]) -> dict[str, int]:
    """Return what `medprotect.protect.receipt.count_warnings` counts in a journal."""
    return dict(
        Counter(
            slug
            for each in files
            for slug in each.get("warnings", ())
            if each["outcome"] in STATES_IN_OUT or slug == MASK_BY_NAME
        )
    )


def _joined(receipts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the settings of all batches; where they differ, each of them once."""
    if not receipts:
        raise OutputError("the node has protected nothing yet; wait until it has")
    names = sorted({name for each in receipts for name in each["backend"]})
    return {
        "medprotect": _words(each["medprotect"] for each in receipts),
        "statements": _distinct(text for each in receipts for text in each["statements"]),
        "strength": _words(each["strength"] for each in receipts),
        "key": _words(each["key"] for each in receipts),
        "with_labels": any(each["with_labels"] for each in receipts),
        "keep_uids": any(each["keep_uids"] for each in receipts),
        "along_z": _words(each["along_z"] for each in receipts),
        "pipelines": _distinct(
            {**pipeline, "strength": each["strength"]}
            for each in receipts
            for pipeline in each["pipelines"]
        ),
        "backend": {
            name: _words(each["backend"][name] for each in receipts if name in each["backend"])
            for name in names
        },
    }


def _distinct(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _words(texts: Iterable[str]) -> str:
    return " and ".join(_distinct(texts))
