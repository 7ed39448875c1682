"""Add noise to medical images so that models trained on them without permission learn less.

How much less is measured, per kind of image: see `medprotect docs`.

The names below are its Python API; ``docs/reference/python.md`` shows them at work. What a name
needs is imported when it is first used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medprotect.confounder.key import Key
    from medprotect.errors import MedprotectError
    from medprotect.protect.api import (
        inspect,
        load_pipeline,
        plan_export,
        protect_export,
        protect_file,
        verify,
    )
else:

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(_PLACES[name]), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *_PLACES})


__version__ = "0.1.0"

__all__ = [
    "Key",
    "MedprotectError",
    "inspect",
    "load_pipeline",
    "plan_export",
    "protect_export",
    "protect_file",
    "verify",
]

_PLACES = {
    **dict.fromkeys(__all__, "medprotect.protect.api"),
    "Key": "medprotect.confounder.key",
    "MedprotectError": "medprotect.errors",
}
