"""`medprotect report`: what a run or a node did, for people to read and for others to check."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from medprotect.cli.ending import ending


def report(
    out: Annotated[Path, typer.Argument(help="What run, watch or node wrote.")],
    export: Annotated[
        Path | None,
        typer.Option(
            help="The export: also compare a few files of each kind, clean and protected.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Where page and statement go, where not OUT.medprotect."
        ),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="The owner's key; else that of run.", show_default=False)
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="The state folder, where not OUT.medprotect.")
    ] = None,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Show images in the page: it must not leave then.")
    ] = False,
    with_names: Annotated[
        bool, typer.Option("--with-names", help="List paths, which may be personal.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object at the end.")] = False,
) -> None:
    """Write report.html to read, and statement.json, signed, to send along with OUT.

    The statement names no path; whoever gets OUT checks it with verify OUT --statement, and with
    your public key (medprotect key public). Of a node it states all that was ever written to OUT,
    also what was forwarded; the node may be running.
    """
    with ending(as_json=as_json):
        from medprotect.confounder.key import Key, default_key_path
        from medprotect.errors import ConfigError
        from medprotect.protect.defaults import state_beside
        from medprotect.report.write import write_report

        if pictures and export is None:
            raise ConfigError("Pictures are made from the export: name it with --export.")
        place = state or state_beside(out)
        written = write_report(
            out,
            place,
            Key.load(key or default_key_path()),
            receipt=_read_node(place, needs_export=export is not None or with_names),
            export=export,
            folder=to,
            with_names=with_names,
            with_pictures=pictures,
        )
        names = {"page": str(written.page), "statement": str(written.statement)}
        if as_json:
            print(json.dumps({**names, "public_key": written.public_key}, indent=1))
        else:
            print(f"page       {written.page}")
            print(f"statement  {written.statement}")
            print(f"public key {written.public_key}")


def _read_node(state: Path, *, needs_export: bool) -> dict[str, Any] | None:
    """Return the receipt of a node; None where the state folder is a run's."""
    from medprotect.errors import ConfigError
    from medprotect.network.receipt import is_of_node, node_receipt

    if not is_of_node(state):
        return None
    if needs_export:
        raise ConfigError(
            "A node keeps neither the originals nor the names of what it has protected: leave "
            "--export and --with-names away."
        )
    return node_receipt(state)
