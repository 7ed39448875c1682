"""`medprotect key`: the owner's secret."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from medprotect.cli.ending import ending

app = typer.Typer(
    no_args_is_help=True, help="Secrets: new, backup, fingerprint, public; identity, recipient."
)

KeyFile = Annotated[
    Path | None,
    typer.Option("--key", help="The key file; else the one that `run` makes.", show_default=False),
]


@app.command()
def new(
    file: Annotated[Path, typer.Argument(help="Where to write the key; must not exist.")],
) -> None:
    """Make a key, readable by you alone."""
    with ending():
        from medprotect.confounder.key import Key

        key = Key.new()
        key.save(file)
        print(f"key {key.fingerprint} in {file}; keep it, and a copy, as you keep the export")


@app.command()
def backup(
    to: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            help="Where to write the copy, best on another disk: a folder, or a new file.",
            show_default="you are asked",
        ),
    ] = None,
    key: KeyFile = None,
) -> None:
    """Copy the key, and read the copy again."""
    with ending():
        from medprotect.confounder.key import Key, default_key_path

        source = key or default_key_path()
        place = to or _ask_for_place()
        place = place / source.name if place.is_dir() else place
        copied = Key.backup(source, place)
        print(f"key {copied.fingerprint} copied to {place}")


def _ask_for_place() -> Path:
    """Ask where the copy is to lie; without a terminal there is nobody to ask."""
    from medprotect.errors import ConfigError

    if not sys.stdin.isatty():
        raise ConfigError("Say where the copy is to lie: medprotect key backup FILE")
    return Path(typer.prompt("Where is the copy to lie (a folder or a new file, on another disk)"))


@app.command()
def fingerprint(key: KeyFile = None) -> None:
    """Show the short name of a key, which gives nothing away."""
    with ending():
        from medprotect.confounder.key import Key, default_key_path

        print(Key.load(key or default_key_path()).fingerprint)


@app.command()
def public(key: KeyFile = None) -> None:
    """Show what others check your statements with: no secret, but tell it by a way they trust."""
    with ending():
        from medprotect.confounder.key import Key, default_key_path
        from medprotect.report.statement import public_key

        print(public_key(Key.load(key or default_key_path())))


@app.command()
def identity(
    file: Annotated[Path, typer.Argument(help="Where to write it; must not exist.")],
) -> None:
    """Make an identity that opens vaults made for you; show the word to give to their makers."""
    with ending():
        from medprotect.vault.recipients import Identity

        made = Identity.new()
        made.save(file)
        print(f"identity in {file}; keep it, and a copy: without it no vault made for you opens")
        print(made.recipient)


@app.command()
def recipient(
    file: Annotated[
        Path | None,
        typer.Argument(help="An identity; else the owner's key.", show_default=False),
    ] = None,
) -> None:
    """Show the word with which others make a vault that you can open. It is not a secret."""
    with ending():
        from medprotect.confounder.key import default_key_path
        from medprotect.vault.recipients import Identity

        print(Identity.load(file or default_key_path()).recipient)
