"""What the figures of an audit say, in words."""

from enum import StrEnum

from medprotect.audit.report_schema import Attacker, Audit, Interval, Row

HELD, IN_PART = 0.9, 0.5
"""Where the interval of P must begin at least, for what is called held, and held in part."""

DASH = "\N{EN DASH}"
"""Stands where nothing was measured."""

PLAIN = "none"
"""The countermeasure that is none: plain training."""


class Degree(StrEnum):
    """How far the protection held."""

    HELD = "held"
    PART = "part"
    NOT = "not"
    UNKNOWN = "unknown"


def degree(share: float | None, interval: Interval | None) -> Degree:
    """Return how far it held for a P: by the lower end of its interval, where it has one."""
    if share is None:
        return Degree.UNKNOWN
    least = min(share, interval[0]) if interval else share
    if least >= HELD:
        return Degree.HELD
    return Degree.PART if least >= IN_PART else Degree.NOT


def degree_of(row: Row) -> Degree:
    """Return how far it held in a row of the matrix."""
    return degree(row["P"], row["P_interval"])


_WORST_FIRST = (Degree.NOT, Degree.PART, Degree.HELD, Degree.UNKNOWN)

_HEADLINES = {
    (Degree.HELD, Degree.HELD): "The protection held against everything that was tried.",
    (Degree.HELD, Degree.PART): "The protection held against plain training, "
    "and in part against the strongest attack tried.",
    (Degree.HELD, Degree.NOT): "The protection held against plain training, "
    "but not against the strongest attack tried.",
    (Degree.HELD, Degree.UNKNOWN): "The protection held against plain training; "
    "no attack was tried.",
    (Degree.PART, Degree.PART): "The protection held in part.",
    (Degree.PART, Degree.NOT): "The protection held in part against plain training, "
    "and did not hold against the strongest attack tried.",
    (Degree.PART, Degree.UNKNOWN): "The protection held in part against plain training; "
    "no attack was tried.",
}


def headline(audit: Audit) -> str:
    """Return the verdict in one sentence."""
    protection = audit["protection"]
    plain = degree(protection["plain"], protection["plain_interval"])
    # Another row than that of the least P may have the interval that begins lowest.
    worst = _worst(
        degree(protection["worst"], protection["worst_interval"]),
        *(degree_of(row) for row in audit["matrix"] if row["clean_share"] == 0),
    )
    if not protection["measurable"] or plain is Degree.UNKNOWN:
        return "Whether the protection holds could not be measured."
    mixed = {degree_of(row) for row in audit["matrix"] if row["clean_share"] > 0}
    if plain is worst is Degree.HELD and mixed - {Degree.HELD}:
        return "The protection held against everything that was tried, where all was protected."
    return _HEADLINES.get((plain, worst), "The protection did not hold.")


def _worst(*degrees: Degree) -> Degree:
    return min(degrees, key=_WORST_FIRST.index)


def sentences(audit: Audit) -> list[str]:
    """Return what the verdict rests on: accuracies of models, in whole sentences."""
    accuracy, protection = audit["accuracy"], audit["protection"]
    found = []
    if accuracy["clean"] is not None:
        found.append(
            f"A model that learned from the clean images tells {len(audit['data']['classes'])} "
            f"classes apart with an accuracy of {percent(accuracy['clean'])}; "
            f"guessing gives {_exact(accuracy['chance'])}."
        )
    if not protection["measurable"]:
        found.append(
            "That is too close to guessing: where clean images teach nothing, "
            "nothing can be seen to be withheld."
        )
        return found
    plain = _row(audit, accuracy["clean_victim"], PLAIN)
    if plain and plain["attacker_best"] is not None:
        best = percent(plain["attacker_best"])
        found.append(f"Trained plainly on the protected images, it reaches {best}.")
    found.extend(_on_the_worst(audit))
    if audit["data"]["left_out"]:
        found.append(
            f"{audit['data']['left_out']} images for training are not among the protected ones, "
            "and were left out."
        )
    return found


def _on_the_worst(audit: Audit) -> list[str]:
    attacker = audit["protection"]["worst_attacker"]
    if attacker is None:
        return []
    row = _row(audit, attacker["victim"], attacker["countermeasure"])
    if row is None or row["attacker_best"] is None:
        return []
    return [
        f"The strongest attack tried is {name_attack(attacker)}; "
        f"it reaches {percent(row['attacker_best'])}."
    ]


def name_attack(attacker: Attacker) -> str:
    """Return a victim and what it did, as words."""
    countermeasure = attacker["countermeasure"]
    if countermeasure == PLAIN:
        return f"{attacker['victim']} without countermeasure"
    return f"{attacker['victim']} with {countermeasure}"


def _row(audit: Audit, victim: str | None, countermeasure: str) -> Row | None:
    return next(
        (
            row
            for row in audit["matrix"]
            if (row["victim"], row["countermeasure"]) == (victim, countermeasure)
            and row["clean_share"] == 0
        ),
        None,
    )


def countermeasures_by_degree(audit: Audit) -> dict[Degree, list[tuple[str, float]]]:
    """Return countermeasures by how far it held against the worst victim, with their least P.

    Where all images are protected.
    """
    least: dict[str, float] = {}
    degrees: dict[str, Degree] = {}
    for row in audit["matrix"]:
        if row["clean_share"] == 0 and row["P"] is not None:
            name = row["countermeasure"]
            least[name] = min(least.get(name, row["P"]), row["P"])
            degrees[name] = _worst(degrees.get(name, Degree.UNKNOWN), degree_of(row))
    parted: dict[Degree, list[tuple[str, float]]] = {each: [] for each in Degree}
    for name, share in sorted(least.items(), key=lambda item: item[1]):
        parted[degrees[name]].append((name, share))
    return parted


def _exact(share: float | None) -> str:
    """Return percent with a digit more where chance, such as 12.5 %, needs one."""
    return percent(share, 0 if share is None or round(100 * share, 1) % 1 == 0 else 1)


def percent(share: float | None, digits: int = 0) -> str:
    """Return a share as percent, with a true minus; a dash for None."""
    if share is None:
        return DASH
    figure = f"{100 * share:.{digits}f}"
    if float(figure) == 0:
        figure = figure.lstrip("-")
    return figure.replace("-", "\N{MINUS SIGN}") + "\u202f%"
