"""Where secrets may lie."""

from pathlib import Path

from medprotect.errors import KeyFileError
from medprotect.protect.settings import Settings


def check_key_place(key: Path, settings: Settings) -> None:
    """Refuse a key in or beside OUT, in the export, or in the state folder.

    Raises
    ------
    KeyFileError
        It lies there, or would.
    """
    place = key.resolve()
    trees = [tree.resolve() for tree in (settings.out, settings.export, settings.state)]
    if place.parent == trees[0].parent or any(place.is_relative_to(tree) for tree in trees):
        raise KeyFileError(
            "The key is in or beside OUT, or in the export, and could leave the house with it. "
            "Keep it elsewhere."
        )
