"""`medprotect push`: send what a run or a node wrote to a DICOM node or a DICOMweb service."""

import json
from pathlib import Path
from typing import Annotated

import typer

from medprotect.cli.ending import ending
from medprotect.cli.node import Login, Title, TlsCa, TlsCert, TlsKey
from medprotect.cli.run import State
from medprotect.protect.defaults import state_beside


def push(
    out: Annotated[Path, typer.Argument(help="What run, watch or node wrote.")],
    peer: Annotated[
        str,
        typer.Argument(
            metavar="TITLE@HOST:PORT|https://...",
            help="The DICOM node or DICOMweb service to send it to.",
        ),
    ],
    title: Title = "MEDPROTECT",
    tls: Annotated[bool, typer.Option("--tls", help="Use TLS to a DICOM node.")] = False,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_ca: TlsCa = None,
    login: Login = None,
    state: State = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object at the end.")
    ] = False,
) -> None:
    """Send by C-STORE or STOW-RS what run, watch or node wrote to OUT, and nothing else.

    It says how many of the files are protected, weak or unmeasured, and sends them all. The exit
    code is 6 if the peer cannot be reached or does not take all; the same command sends all again,
    under the same UIDs.
    """
    with ending(as_json=as_json):
        from medprotect.network.peer import require_pynetdicom
        from medprotect.network.push import SENT
        from medprotect.network.push import push as send
        from medprotect.network.recipient import parse_recipient
        from medprotect.network.tls import Tls

        require_pynetdicom()
        own = Tls(tls_cert, tls_key, tls_ca)
        recipient = parse_recipient(peer, title, own, with_tls=tls, login=login)
        pushed = send(out, state or state_beside(out), recipient)
        became, sent = pushed.became, pushed.sent
        if as_json:
            told = (
                {"states": sent.states, "summary": sent.summary, "caveat": sent.caveat}
                if sent
                else {}
            )
            print(json.dumps({"files": became.total(), **became, **told}, indent=1))
        else:
            parts = [f"{count} {word}" for word, count in sorted(became.items())]
            if sent:
                print(sent.summary)
                if sent.caveat:
                    print(sent.caveat)
                print(sent.total_in_words(f"{sent.total()} sent"))
            print(f"{became.total()} files = {' + '.join(parts) or '0'}")
        if became.total() > became[SENT] + became["not_dicom"]:
            from medprotect.errors import PeerError

            raise typer.Exit(PeerError.exit_code)
