"""What a pipeline was measured to protect, in a file beside its card.

It is no part of the card: what is measured later changes no noise, and so no identity.
"""

import math
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from medprotect.errors import PipelineError
from medprotect.intensity.budget import STRENGTHS

MEASURED = "measured.toml"
LITTLE = 0.5
"""P below which models learn more than half of what clean images teach."""


@cache
def measured_p(folder: Path) -> Mapping[str, float]:
    """Return P without labels by strength, as `medprotect.audit` measures it.

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
