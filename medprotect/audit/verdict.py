"""What the figures of an audit say, in words."""

from enum import StrEnum

from medprotect.audit.report_schema import Attacker, Audit, Interval, Row, WithImages
from medprotect.confounder.measured import LEAST, NOTHING, number_in_words

HELD, IN_PART = 0.9, LEAST
"""Where the interval of protection must begin at least, for what is called held, or in part."""

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
    """Return how far it held for a protection: by the lower end of its interval, if any."""
    if share is None:
        return Degree.UNKNOWN
    least = min(share, interval[0]) if interval else share
    if least >= HELD:
        return Degree.HELD
    return Degree.PART if least >= IN_PART else Degree.NOT


def degree_of(row: Row) -> Degree:
    """Return how far it held in a row of the matrix."""
    return degree(row["protection"], row["interval"])


_WORST_FIRST = (Degree.NOT, Degree.PART, Degree.HELD, Degree.UNKNOWN)

_LEARNS = (
    "as much as from the originals",
    "more than half of what the originals teach",
    "less than half of what the originals teach",
    "hardly anything",
)


def _learns(share: float, interval: Interval | None) -> int:
    """Return the index of what a model learns, in words: the lower, the more."""
    if share <= NOTHING:
        return 0
    return 1 + (Degree.NOT, Degree.PART, Degree.HELD).index(degree(share, interval))


def headline(audit: Audit) -> str:
    """Return the verdict in one sentence.

    It speaks of somebody without a clean image: of plain training first, and then of the
    strongest attack, where that learns more.
    """
    protection = audit["protection"]
    if not protection["measurable"] or protection["plain"] is None:
        return "Whether the protection holds could not be measured."
    plain = _learns(protection["plain"], protection["plain_interval"])
    said = f"From the protected images a model learns {_LEARNS[plain]}"
    attacker = protection["worst_attacker"]
    if attacker is None or protection["worst"] is None:
        return f"{said}."
    worst = _learns(protection["worst"], protection["worst_interval"])
    if worst >= plain:
        return f"{said}."
    return f"{said}; {name_attack(attacker)} learns {_LEARNS[worst]}."


def list_figures(audit: Audit) -> list[tuple[str, float, Interval | None]]:
    """Return what the verdict rests on, the first number first.

    Returns
    -------
    list of tuple
        Of what an attacker has or does, the protection, and its interval.
    """
    protection = audit["protection"]
    found = [("without a clean image", protection["plain"], protection["plain_interval"])]
    found += [
        (f"with {each['k']} clean images of each class", each["protection"], each["interval"])
        for each in protection["with_images"]
    ]
    attacker = protection["worst_attacker"]
    if attacker and attacker["countermeasure"] != PLAIN:
        name = f"without a clean image, after {attacker['countermeasure']}"
        found.append((name, protection["worst"], protection["worst_interval"]))
    return [(name, share, interval) for name, share, interval in found if share is not None]


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
    plain = max(
        (
            row["attacker_best"]
            for row in audit["matrix"]
            if row["countermeasure"] == PLAIN
            and row["clean_share"] == 0
            and row["attacker_best"] is not None
        ),
        default=None,
    )
    if plain is not None:
        found.append(f"Trained plainly on the protected images, it reaches {percent(plain)}.")
    found.extend(_on_the_worst(audit))
    found.extend(map(_on_images, protection["with_images"]))
    if audit["data"]["left_out"]:
        found.append(
            f"{audit['data']['left_out']} images for training are not among the protected ones, "
            "and were left out."
        )
    return found


def _on_images(row: WithImages) -> str:
    said = f"Who has {row['k']} clean images of each class reaches {percent(row['alone'])} "
    said += f"with these alone, {percent(row['protected'])} with the protected images, too, "
    said += f"and {percent(row['clean'])} with the originals"
    if row["protection"] is None:
        return f"{said}: too little more to tell what the protected images withhold."
    return f"{said}."


def _on_the_worst(audit: Audit) -> list[str]:
    attacker = audit["protection"]["worst_attacker"]
    if attacker is None or attacker["countermeasure"] == PLAIN:
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
    """Return countermeasures by how far it held against the worst victim, with its protection.

    Where all images are protected.
    """
    least: dict[str, float] = {}
    degrees: dict[str, Degree] = {}
    for row in audit["matrix"]:
        if row["clean_share"] == 0 and row["protection"] is not None:
            name = row["countermeasure"]
            least[name] = min(least.get(name, row["protection"]), row["protection"])
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


def number(share: float | None) -> str:
    """Return a protection with two digits; a dash for None."""
    return DASH if share is None else number_in_words(share)
