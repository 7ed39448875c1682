"""`medprotect pull`: have an archive send studies to a node that protects them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from medprotect.cli.ending import ending
from medprotect.cli.node import Title, TlsCa, TlsCert, TlsKey

Archive = Annotated[
    str, typer.Argument(metavar="TITLE@HOST:PORT", help="The archive that has the studies.")
]
To = Annotated[str, typer.Option(metavar="TITLE", help="AE title of the node that receives them.")]
Study = Annotated[
    list[str] | None,
    typer.Option(help="A Study Instance UID. May be given more than once.", show_default=False),
]
Studies = Annotated[
    Path | None,
    typer.Option(help="A file with one Study Instance UID per line.", show_default=False),
]
Dates = Annotated[
    str, typer.Option(metavar="YYYYMMDD[-YYYYMMDD]", help="Study Date.", show_default=False)
]


def pull(
    archive: Archive,
    to: To = "MEDPROTECT",
    study: Study = None,
    studies: Studies = None,
    patient: Annotated[str, typer.Option(help="Patient ID.", show_default=False)] = "",
    accession: Annotated[str, typer.Option(help="Accession Number.", show_default=False)] = "",
    modality: Annotated[str, typer.Option(help="CT, MR, ...", show_default=False)] = "",
    dates: Dates = "",
    title: Title = "MEDPROTECT",
    tls: Annotated[bool, typer.Option("--tls", help="Use TLS to the archive.")] = False,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_ca: TlsCa = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the studies.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object at the end.")
    ] = False,
) -> None:
    """Ask an archive to send studies to a running `medprotect node OUT`, which protects them.

    The archive must know the node's AE title, host and port. The exit code is 6 if it cannot be
    reached or could not send all. The same command asks again; the node keeps each object once.
    """
    with ending(as_json=as_json):
        from medprotect.errors import PeerError
        from medprotect.network.peer import Peer, require_pynetdicom, title_of
        from medprotect.network.pull import Query, find_studies, move
        from medprotect.network.tls import Tls

        require_pynetdicom()
        speaks = Tls(tls_cert, tls_key, tls_ca) if tls else None
        peer, destination = Peer.parse(archive, title, tls=speaks), title_of(to)
        named = [*(study or ()), *_read_studies(studies)]
        common = {"patient": patient, "accession": accession, "modality": modality, "dates": dates}
        queries = [Query(study=each, **common) for each in named or [""]]
        found = list(dict.fromkeys(uid for query in queries for uid in find_studies(peer, query)))
        asked = [] if dry_run else list(move(peer, found, destination))
        counts = {
            "studies": len(found),
            "not_found": max(0, len(set(named)) - len(found)),
            "sent": sum(each.sent for each in asked),
            "failed": sum(each.failed for each in asked),
        }
        print(json.dumps(counts, indent=1) if as_json else _in_words(counts, dry_run=dry_run))
        if counts["failed"] or counts["not_found"]:
            raise typer.Exit(PeerError.exit_code)


def _read_studies(path: Path | None) -> list[str]:
    from medprotect.errors import ConfigError

    if path is None:
        return []
    try:
        lines = [line.strip() for line in path.read_text("ascii").splitlines()]
    except (OSError, ValueError):
        raise ConfigError(
            "The file of studies cannot be read; it needs one UID per line."
        ) from None
    if not any(lines):
        raise ConfigError("The file of studies is empty; it needs one UID per line.")
    return [line for line in lines if line]


def _in_words(counts: dict[str, int], *, dry_run: bool) -> str:
    words = f"{counts['studies']} studies"
    if counts["not_found"]:
        words += f", {counts['not_found']} not in the archive"
    if dry_run:
        return words
    return f"{words}: {counts['sent']} objects sent, {counts['failed']} failed"
