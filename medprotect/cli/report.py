"""`medprotect report`: what a run or a node did, to read, and for recipients to check."""

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
            help="The export: also compare a few files of each kind before and after.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder for page and statement. Default: OUT.medprotect."
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(help="The owner's key. Default: the one that run uses.", show_default=False),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="The state folder. Default: OUT.medprotect.")
    ] = None,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Show images; the page must then stay in the house.")
    ] = False,
    with_names: Annotated[
        bool, typer.Option("--with-names", help="List paths. They may identify patients.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object at the end.")
    ] = False,
) -> None:
    """Write report.html to read, and a signed statement.json to hand over with OUT.

    The statement names no path. Whoever gets OUT checks it with verify OUT --statement and your
    public key (medprotect key public). The statement of a node counts all that it ever wrote to
    OUT, also what was forwarded; the node may be running.
    """
    with ending(as_json=as_json):
        from medprotect.cli.progress_view import ProgressView
        from medprotect.confounder.key import Key, default_key_path
        from medprotect.errors import ConfigError
        from medprotect.protect.defaults import state_beside
        from medprotect.report.write import write_report

        if pictures and export is None:
            raise ConfigError("--pictures needs --export EXPORT.")
        place = state or state_beside(out)
        with ProgressView("comparing images, drawing" if export else "writing the report"):
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
