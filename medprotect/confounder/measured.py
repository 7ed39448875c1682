"""What a pipeline was measured to protect, in a file beside its card, and what that is called.

It is no part of the card: what is measured later changes no noise, and so no identity.
"""

import math
import tomllib
from collections.abc import Mapping
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
            From `measured_protection`; None where nothing was measured at this strength.

        Examples
        --------
        >>> Protection.of(0.85), Protection.of(0.26), Protection.of(None)
        (<Protection.PROTECTED: 'protected'>, <Protection.WEAK: 'weak'>, <Protection.UNMEASURED: 'unmeasured'>)
        """  # noqa: E501
        if protection is None:
            return cls("unmeasured")
        return cls("protected" if protection >= LEAST else "weak")


@cache
def measured_protection(folder: Path) -> Mapping[str, float]:
    """Return protection without labels by strength, as `medprotect.audit` measures it.

    Protection is the share of what a model learns from the originals that it does not learn from
    the protected images: 0 where it learns as much, 1 where it learns nothing.

    Parameters
    ----------
    folder : Path
        Of the pipeline; its ``measured.toml`` holds a table ``p``, with a number for each strength
        that was measured. Without that file nothing was.

    Raises
    ------
    PipelineError
        The file is not such a table.
    """
    path = folder / MEASURED
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return MappingProxyType({})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        raise PipelineError(f"{path} cannot be read, or is not TOML.") from None
    table = content.get("p")
    if set(content) != {"p"} or type(table) is not dict or not all(map(_is_p, table.items())):
        raise PipelineError(
            f"{path} holds one table, p, with a number for some of {', '.join(STRENGTHS)}."
        )
    return MappingProxyType({strength: float(table[strength]) for strength in table})


def _is_p(entry: tuple[str, object]) -> bool:
    strength, p = entry
    return strength in STRENGTHS and type(p) in (int, float) and math.isfinite(p)  # type: ignore[arg-type]


def number_in_words(*protections: float) -> str:
    """Return one or more protections with two digits, such as ``0.26`` or ``0.00 to 0.26``.

    What was measured below 0 is shown as 0.00: a model cannot learn more than there is.
    """
    shown = sorted({f"{max(each, 0.0):.2f}" for each in protections})
    return shown[0] if len(shown) == 1 else f"{shown[0]} to {shown[-1]}"


def protection_in_words(counts: Mapping[float | None, int]) -> str:
    """Say in one sentence what a model still learns from files that carry noise.

    The worst comes first. The sentence ends with a full stop.

    Parameters
    ----------
    counts : mapping of float or None to int
        Number of files by the protection of their pipeline at the strength of the run, at least
        one; None where it was not measured.

    Examples
    --------
    >>> protection_in_words({0.0: 12})
    'A model still learns as much from these files as from the originals (protection 0.00).'
    >>> protection_in_words({0.0: 230, 0.26: 13, 0.55: 4})
    'A model still learns as much from 230 of 247 files as from the originals (protection 0.00); 13 more are weak (0.26); 4 are protected (0.55).'
    """  # noqa: E501
    groups: dict[str, dict[float | None, int]] = {"nothing": {}, **{each: {} for each in _ORDER}}
    for protection, count in counts.items():
        word = Protection.of(protection).value
        if protection is not None and protection <= NOTHING:
            word = "nothing"
        groups[word][protection] = count
    (first, worst), *others = ((word, group) for word, group in groups.items() if group)
    total, count = sum(counts.values()), sum(worst.values())
    parts = [_SENTENCES[first].format(which=_which(count, total), measured=_measured(worst))]
    for word, group in others:
        number, measured = sum(group.values()), _measured(group)
        brackets = f" ({measured})" if measured else ""
        more = " more" if first != "weak" and word == "weak" else ""
        parts.append(f"{number:,}{more} {'is' if number == 1 else 'are'} {word}{brackets}")
    return "; ".join(parts) + "."


def _measured(group: Mapping[float | None, int]) -> str:
    figures = [each for each in group if each is not None]
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
