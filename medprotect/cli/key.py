"""`medprotect key`: the owner's secret."""

from pathlib import Path
from typing import Annotated

import typer

from medprotect.cli.ending import ending

app = typer.Typer(
    no_args_is_help=True, help="The owner's secret: new, backup, fingerprint, public."
)

KeyFile = Annotated[
    Path | None,
    typer.Option("--key", help="The key file; else the one that `run` makes.", show_default=False),
]


@app.command()
def new(
    file: Annotated[Path, typer.Argument(help="Where the key is to lie; must not exist.")],
) -> None:
    """Make a key, readable by you alone."""
    with ending():
        from medprotect.confounder.key import Key

        key = Key.new()
        key.save(file)
        print(f"key {key.fingerprint} in {file}; keep it, and a copy, as you keep the export")


@app.command()
def backup(
    to: Annotated[Path, typer.Argument(help="Where the copy is to lie; must not exist.")],
    key: KeyFile = None,
) -> None:
    """Copy the key, and read the copy again."""
    with ending():
        from medprotect.confounder.key import Key, default_key_path

        copied = Key.backup(key or default_key_path(), to)
        print(f"key {copied.fingerprint} copied to {to}")


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
