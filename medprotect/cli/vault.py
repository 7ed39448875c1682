"""`medprotect vault` and `medprotect restore`: getting the export back."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from medprotect.cli.ending import ending
from medprotect.cli.run import KeyFile, Recipients

if TYPE_CHECKING:
    from medprotect.vault.recipients import Identity

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")]


def vault(
    export: Annotated[Path, typer.Argument(help="The export that was protected.")],
    out: Annotated[Path, typer.Argument(help="What the run wrote.")],
    file: Annotated[Path, typer.Argument(help="The vault to make; must not exist.")],
    recipient: Recipients = None,
    key: KeyFile = None,
    state: Annotated[
        Path | None, typer.Option(help="The state folder. Default: OUT.medprotect.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a vault of a finished run. With it and OUT, `restore` gives the export back.

    It is encrypted for the owner's key and for those named with --recipient. Keep it in the
    house: whoever can open it has the clean images. Before it gets its name, every file is
    restored from it once and compared.
    """
    with ending(as_json=as_json), _terminable():
        from medprotect.cli.progress_view import ProgressView
        from medprotect.cli.vault_view import vault_as_json, vault_in_words
        from medprotect.confounder.key import Key, default_key_path
        from medprotect.protect.defaults import state_beside
        from medprotect.vault.make import make_vault
        from medprotect.vault.recipients import Recipient

        readers = [Recipient.parse(word) for word in recipient or ()]
        owner = Key.load(key or default_key_path())
        with ProgressView("reading") as shown:
            made = make_vault(
                export, out, state or state_beside(out), file, owner, readers, shown.show
            )
        if as_json:
            print(json.dumps(vault_as_json(file, made), indent=1))
        else:
            print("\n".join(vault_in_words(file, made)))


def restore(
    out: Annotated[Path, typer.Argument(help="What a run wrote, unchanged.")],
    back: Annotated[Path, typer.Argument(help="A new folder for the export.")],
    vault: Annotated[Path, typer.Option(metavar="FILE", help="The vault of that run.")],
    key: KeyFile = None,
    identity: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A recipient's identity, instead of the owner's key.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Restore an export, byte for byte, from OUT and its vault.

    Everything is checked before BACK appears. If anything is wrong, nothing is written.
    """
    with ending(as_json=as_json), _terminable():
        from medprotect.cli.naming import bytes_in_words
        from medprotect.cli.progress_view import ProgressView
        from medprotect.cli.vault_view import listing_as_json, not_kept_in_words
        from medprotect.vault.restore import restore_export

        opener = _find_identity(key, identity)
        with ProgressView("reading") as shown:
            listing = restore_export(out, vault, back, opener, shown.show)
        if as_json:
            print(json.dumps({"back": str(back), **listing_as_json(listing)}, indent=1))
            return
        for line in not_kept_in_words(listing):
            print(line)
        size = bytes_in_words(listing.size)
        print(f"{len(listing.files)} files, {size}, are in {back} as they were in the export")


def _find_identity(key: Path | None, identity: Path | None) -> "Identity":
    from medprotect.confounder.key import Key, default_key_path
    from medprotect.errors import ConfigError
    from medprotect.vault.recipients import Identity

    if key is not None and identity is not None:
        raise ConfigError("Give --key or --identity, not both.")
    if identity is not None:
        return Identity.load(identity)
    return Identity.of(Key.load(key or default_key_path()))


@contextmanager
def _terminable() -> Iterator[None]:
    """End on SIGTERM as on Ctrl-C, so that nothing half-made is left, in clear least of all."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt(number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
