"""A vault on the terminal: what it came to."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from medprotect.cli.naming import bytes_in_words
from medprotect.errors import MedprotectError

if TYPE_CHECKING:
    from medprotect.vault.listing import Listing
    from medprotect.vault.make import Made


def vault_in_words(file: Path | None, kept: "Made | MedprotectError | None") -> list[str]:
    """Return what is told of a vault; nothing where none was asked for."""
    if file is None:
        return []
    if kept is None:
        return ["vault: not made yet; it is made when the run is finished"]
    if isinstance(kept, MedprotectError):
        return [
            "vault: not made, see the error; `medprotect vault EXPORT OUT FILE` makes it without "
            "another run"
        ]
    listing = kept.listing
    return [
        f"vault: {file}, {bytes_in_words(kept.size)}; with OUT it gives back "
        f"{len(listing.files)} files, {bytes_in_words(listing.size)}",
        *not_kept_in_words(listing),
    ]


def not_kept_in_words(listing: "Listing") -> list[str]:
    """Return what of the export is not in a vault; nothing where all is."""
    reasons = ", ".join(f"{count} {why}" for why, count in listing.not_kept.items())
    return (
        [f"not in the vault: {reasons}; it holds only plain files with plain names"]
        if reasons
        else []
    )


def vault_as_json(file: Path | None, kept: "Made | MedprotectError | None") -> dict[str, Any]:
    """Return what is told of a vault to scripts."""
    if kept is None:
        return {"file": None}
    if isinstance(kept, MedprotectError):
        return {"file": None, "error": kept.slug, "message": str(kept)}
    return {"file": str(file), "bytes": kept.size, **listing_as_json(kept.listing)}


def listing_as_json(listing: "Listing") -> dict[str, Any]:
    """Return what a vault holds, in numbers."""
    return {
        "files": len(listing.files),
        "files_bytes": listing.size,
        "not_kept": listing.not_kept,
    }
