"""What a pipeline was measured to protect, in a file beside its card, and what that is called.

It is no part of the card: what is measured later changes no noise, and so no identity.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Self

from medprotect.errors import PipelineError
from medprotect.intensity.budget import STRENGTHS

MEASURED = "measured.toml"
LEAST = 0.5
"""Protection from which an image counts as protected: a model learns at most half."""

NOTHING = 0.05
"""Protection up to which a model learns as much as from the originals, as far as is measured."""


class Protection(StrEnum):
    """What an image in OUT is, by the measured protection of its pipeline at its strength."""

    PROTECTED = "protected"
    WEAK = "weak"
    UNMEASURED = "unmeasured"

    @classmethod
    def of(cls, protection: float | None) -> Self:
        """Return the word for a protection.

        Parameters
        ----------
        protection : float or None
            `Measured.protection`; None where nothing was measured at this strength.

        Examples
        --------
        >>> Protection.of(0.85), Protection.of(0.26), Protection.of(None)
        (<Protection.PROTECTED: 'protected'>, <Protection.WEAK: 'weak'>, <Protection.UNMEASURED: 'unmeasured'>)
        """  # noqa: E501
        if protection is None:
            return cls("unmeasured")
        return cls("protected" if protection >= LEAST else "weak")


@dataclass(frozen=True, slots=True)
class Measured:
    """What a pipeline was measured to protect at one strength.

    Each figure is the share of what a model learns from the originals that it does not learn from
    the protected images: 0 where it learns as much, 1 where it learns nothing. It may be a little
    below 0, by chance.

    Attributes
    ----------
    protection : float
        Against who has no clean image. The word for an image goes by this figure alone.
    with_10_images : float or None
        Against who has ten clean images of each class; None where that was not measured.
    worst : float or None
        Against who has no clean image, after the countermeasure that undoes most; None where none
        was tried.
    worst_countermeasure : str or None
        Which one that is, by its name in an audit, such as ``jpeg-10``.
    """

    protection: float
    with_10_images: float | None = None
    worst: float | None = None
    worst_countermeasure: str | None = None


@cache
def read_measured(folder: Path) -> Mapping[str, Measured]:
    """Return what a pipeline was measured to protect, by strength.

    Parameters
    ----------
    folder : Path
        Of the pipeline. Its ``measured.toml`` holds a table for each strength that was measured,
        with the keys that `Measured` has; ``protection`` must be among them. Without that file
        nothing was measured. The older form is read, too: one table ``p`` with a number for each
        strength.

    Raises
    ------
    PipelineError
        The file is neither; the message says what to write.
    """
    path = folder / MEASURED
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return MappingProxyType({})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        raise PipelineError(f"{path} cannot be read, or is not TOML.") from None
    try:
        return MappingProxyType(_parse(content))
    except ValueError as error:
        raise PipelineError(f"{path}: {error}.") from None


def _parse(content: Mapping[str, object]) -> dict[str, Measured]:
    """Return what a file says; raise ValueError that says what it should."""
    if "p" in content:
        return _parse_older(content)
    if not content or not content.keys() <= STRENGTHS.keys():
        raise ValueError(
            f"write a table for each strength that was measured, such as [standard] "
            f"(of {', '.join(STRENGTHS)}), and no other"
        )
    return {strength: _parse_table(strength, table) for strength, table in content.items()}


def _parse_older(content: Mapping[str, object]) -> dict[str, Measured]:
    """Return what a table ``p`` says.

    Its number counted the moment of a training that did best on clean images. Who has no clean
    image does no better, so that `Measured.protection` is at least that number.
    """
    if len(content) > 1:
        raise ValueError(
            "[p] stands beside other tables; write its numbers as protection = ... into the table "
            "of each strength, and remove [p]"
        )
    table = content["p"]
    if not isinstance(table, dict) or not table.keys() <= STRENGTHS.keys():
        raise ValueError(f"write a number for some of {', '.join(STRENGTHS)} into [p], and no more")
    return {strength: Measured(_number("p", strength, found)) for strength, found in table.items()}


def _parse_table(strength: str, table: object) -> Measured:
    if not isinstance(table, dict) or "protection" not in table:
        raise ValueError(f"write protection = and a number, such as 0.26, into [{strength}]")
    if not table.keys() <= set(_KEYS):
        raise ValueError(f"[{strength}] has a key that is none of {', '.join(_KEYS)}; remove it")
    if ("worst" in table) != ("worst_countermeasure" in table):
        raise ValueError(
            f"of worst and worst_countermeasure, [{strength}] has one alone; write both, the "
            'second as the name of the countermeasure, such as "jpeg-10"'
        )
    name = table.get("worst_countermeasure")
    if name is not None and not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise ValueError(
            f"worst_countermeasure of [{strength}] is no name; write it as an audit does, such as "
            '"jpeg-10": letters, digits, dots, hyphens'
        )
    figures = {key: _number(strength, key, table[key]) for key in _NUMBERS if key in table}
    return Measured(**figures, worst_countermeasure=name)


def _number(table: str, key: str, found: object) -> float:
    # By chance a share is measured a little outside 0..1. 26 is a percentage, and nan no figure.
    if isinstance(found, bool) or not isinstance(found, int | float) or not -10 < found < 2:
        raise ValueError(
            f"{key} of [{table}] is no share; write a number from 0 to 1, such as 0.26"
        )
    return float(found)


_NUMBERS = ("protection", "with_10_images", "worst")
_KEYS = (*_NUMBERS, "worst_countermeasure")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,39}")
"""What a terminal and a page show as it is, whoever wrote the file."""


def number_in_words(*protections: float) -> str:
    """Return one or more protections with two digits, such as ``0.26`` or ``0.00 to 0.26``.

    What was measured below 0 is shown as 0.00: a model cannot learn more than there is.
    """
    shown = sorted({f"{max(each, 0.0):.2f}" for each in protections})
    return shown[0] if len(shown) == 1 else f"{shown[0]} to {shown[-1]}"


def figures_in_words(measured: Measured, strength: str) -> str:
    """Return all that was measured at a strength, for a list of pipelines.

    Examples
    --------
    >>> figures_in_words(Measured(0.26, 0.1, 0.05, "jpeg-10"), "standard")
    '0.26 at standard (0.10 with ten clean images of each class, 0.05 after jpeg-10)'
    >>> figures_in_words(Measured(0.26), "standard")
    '0.26 at standard'
    """
    others = []
    if measured.with_10_images is not None:
        number = number_in_words(measured.with_10_images)
        others.append(f"{number} with ten clean images of each class")
    if measured.worst is not None:
        number = number_in_words(measured.worst)
        others.append(f"{number} after {measured.worst_countermeasure}")
    brackets = f" ({', '.join(others)})" if others else ""
    return f"{number_in_words(measured.protection)} at {strength}{brackets}"


def caveat_in_words(counts: Mapping[Measured | None, int]) -> str:
    """Say in one sentence to what protection falls, where that was measured and is lower.

    It comes after `protection_in_words`. It is empty where there is nothing to say. Of several
    pipelines it tells the range.

    Parameters
    ----------
    counts : mapping of Measured or None to int
        As `protection_in_words` takes it.

    Examples
    --------
    >>> caveat_in_words({Measured(0.26, 0.1, 0.05, "jpeg-10"): 13})
    'Protection is only 0.10 against someone who has ten clean images of each class, and only 0.05 if the images are altered before training (jpeg-10).'
    >>> caveat_in_words({Measured(0.26): 13})
    ''
    """  # noqa: E501
    known = [each for each in counts if each is not None]
    few = {each: each.with_10_images for each in known if each.with_10_images is not None}
    worst = {each: each.worst for each in known if each.worst is not None}
    names = sorted({str(each.worst_countermeasure) for each in worst})
    told = {
        "against someone who has ten clean images of each class": few,
        f"if the images are altered before training ({', '.join(names)})": worst,
    }
    told = {words: figures for words, figures in told.items() if _is_lower(figures)}
    if not told:
        return ""
    parts = [
        f"only {number_in_words(*figures.values())} {words}" for words, figures in told.items()
    ]
    in_part = any(len(figures) < len(counts) for figures in told.values())
    begin = "Where this was measured, protection" if in_part else "Protection"
    return f"{begin} is {', and '.join(parts)}."


def _is_lower(figures: Mapping[Measured, float]) -> bool:
    """Whether one is shown as less than the protection that it stands beside."""
    return any(
        figure < measured.protection
        and number_in_words(figure) != number_in_words(measured.protection)
        for measured, figure in figures.items()
    )


def protection_in_words(counts: Mapping[Measured | None, int]) -> str:
    """Say in one sentence what a model still learns from files that carry noise.

    The worst comes first. The sentence ends with a full stop.

    Parameters
    ----------
    counts : mapping of Measured or None to int
        Number of files by what their pipeline was measured to protect at the strength of the run,
        at least one; None where nothing was.

    Examples
    --------
    >>> protection_in_words({Measured(0.0): 12})
    'A model still learns as much from these files as from the originals (protection 0.00).'
    >>> protection_in_words({Measured(0.0): 230, Measured(0.26): 13, Measured(0.55): 4})
    'A model still learns as much from 230 of 247 files as from the originals (protection 0.00); 13 more are weak (0.26); 4 are protected (0.55).'
    """  # noqa: E501
    groups: dict[str, dict[Measured | None, int]] = {"nothing": {}, **{each: {} for each in _ORDER}}
    for measured, count in counts.items():
        protection = measured.protection if measured else None
        word = Protection.of(protection).value
        if protection is not None and protection <= NOTHING:
            word = "nothing"
        groups[word][measured] = count
    (first, worst), *others = ((word, group) for word, group in groups.items() if group)
    total, count = sum(counts.values()), sum(worst.values())
    parts = [_SENTENCES[first].format(which=_which(count, total), measured=_range(worst))]
    for word, group in others:
        number, figures = sum(group.values()), _range(group)
        brackets = f" ({figures})" if figures else ""
        more = " more" if first != "weak" and word == "weak" else ""
        parts.append(f"{number:,}{more} {'is' if number == 1 else 'are'} {word}{brackets}")
    return "; ".join(parts) + "."


def _range(group: Iterable[Measured | None]) -> str:
    figures = [each.protection for each in group if each is not None]
    return number_in_words(*figures) if figures else ""


def _which(count: int, total: int) -> str:
    if count < total:
        return f"{count:,} of {total:,} files"
    return "this file" if total == 1 else "these files"


_ORDER = (Protection.WEAK.value, Protection.UNMEASURED.value, Protection.PROTECTED.value)
_SENTENCES = {
    "nothing": (
        "A model still learns as much from {which} as from the originals (protection {measured})"
    ),
    "weak": (
        "A model still learns more than half as much from {which} as from the originals "
        "(protection {measured})"
    ),
    "unmeasured": "Nobody has measured what a model still learns from {which}",
    "protected": (
        "A model learns at most half as much from {which} as from the originals "
        "(protection {measured})"
    ),
}
