"""`medprotect node`: a DICOM node that protects what it is sent."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medprotect.cli.ending import SIGNALLED, ending
from medprotect.cli.run import (
    AlongZ,
    AtLeast,
    HowAlongZ,
    HowOthers,
    HowStrong,
    Jobs,
    KeyFile,
    Others,
    Pipelines,
    State,
    Strength,
    find_key,
    make_settings,
)
from medprotect.protect.defaults import state_beside

if TYPE_CHECKING:
    from medprotect.network.node import Duty
    from medprotect.network.server import Listening
    from medprotect.network.tls import Tls
    from medprotect.protect.settings import Settings

Title = Annotated[str, typer.Option(help="Our AE title.")]
TlsCert = Annotated[
    Path | None, typer.Option(help="Our TLS certificate, in PEM.", show_default=False)
]
TlsKey = Annotated[
    Path | None, typer.Option(help="Its key, without a passphrase.", show_default=False)
]
TlsCa = Annotated[
    Path | None,
    typer.Option(
        help="Certificate of the authority that signs the others' certificates.",
        show_default=False,
    ),
]
Retry = Annotated[float, typer.Option(min=0.1, help="Seconds before objects are tried again.")]


OutFolder = Annotated[Path, typer.Argument(help="Where objects with noise go.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Where to listen.")]
Bind = Annotated[str, typer.Option(help="Address to listen on.")]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        help="AE title that may send; may be given more than once.",
        show_default="all, from this machine",
    ),
]
Forward = Annotated[
    str,
    typer.Option(
        metavar="TITLE@HOST:PORT|https://...",
        help="Forward objects with noise by C-STORE or STOW-RS, then remove them from OUT.",
        show_default=False,
    ),
]
ForwardTls = Annotated[bool, typer.Option("--forward-tls", help="Use TLS to a DICOM node.")]
Login = Annotated[
    Path | None,
    typer.Option(
        help="File with USER:PASSWORD or a token, for https; only you may read it (chmod 600).",
        show_default=False,
    ),
]
Settle = Annotated[
    float, typer.Option(min=0, help="Seconds without a new object before a batch is processed.")
]
Again = Annotated[bool, typer.Option("--retry-rejected", help="Try rejected objects again.")]
Status = Annotated[bool, typer.Option("--status", help="Show what became of objects, and exit.")]
AsJson = Annotated[bool, typer.Option("--json", help="With --status: as JSON.")]


def node(
    out: OutFolder,
    port: Port = 11112,
    bind: Bind = "127.0.0.1",
    title: Title = "MEDPROTECT",
    allow: Allow = None,
    forward: Forward = "",
    forward_tls: ForwardTls = False,
    login: Login = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_ca: TlsCa = None,
    settle: Settle = 5,
    retry: Retry = 30,
    retry_rejected: Again = False,
    status: Status = False,
    as_json: AsJson = False,
    pipeline: Pipelines = None,
    strength: HowStrong = Strength.STANDARD,
    along_z: HowAlongZ = AlongZ.COHERENT,
    at_least: AtLeast = None,
    others: HowOthers = Others.LEAVE,
    key: KeyFile = None,
    jobs: Jobs = None,
    state: State = None,
) -> None:
    """Receive DICOM objects, add noise to their images, and keep them in OUT or forward them.

    A sender is told success only when its object is on the disk. OUT.medprotect, beside OUT, stays
    in the house: it holds what waits and what was rejected. The log, --status and `report OUT`
    say how much is protected, weak or unmeasured.
    """
    with ending(as_json=as_json):
        place = state or state_beside(out)
        if status:
            _show_status(out, place, as_json=as_json)
            return
        from medprotect.network.node import Duty
        from medprotect.network.recipient import parse_recipient
        from medprotect.network.tls import Tls

        tls = Tls(tls_cert, tls_key, tls_ca)
        duty = Duty(
            out=out,
            state=place,
            where=_listening(bind, port, title, allow, tls),
            peer=parse_recipient(forward, title, tls, with_tls=forward_tls, login=login)
            if forward
            else None,
            settle_seconds=settle,
            retry_seconds=retry,
            again=retry_rejected,
        )
        settings = _settings(
            duty,
            pipeline,
            strength=strength,
            along_z=along_z,
            at_least=at_least,
            others=others,
            jobs=jobs,
        )
        _serve(duty, settings, key)


def _listening(
    bind: str, port: int, title: str, allow: list[str] | None, tls: "Tls"
) -> "Listening":
    from medprotect.network.peer import title_of
    from medprotect.network.server import Listening

    allowed = tuple(map(title_of, allow or ()))
    return Listening(address=bind, port=port, title=title_of(title), allowed=allowed, tls=tls)


def _show_status(out: Path, state: Path, *, as_json: bool) -> None:
    from medprotect.network.node import count_all

    standing = count_all(out, state)
    words = "\n".join(standing.in_words())
    print(json.dumps(standing.as_json(), indent=1) if as_json else words)


def _serve(duty: "Duty", settings: "Settings", key: Path | None) -> None:
    from medprotect.network.node import serve
    from medprotect.network.peer import require_pynetdicom

    require_pynetdicom()
    found, made = find_key(key, settings, waits=True)
    say(f"key {found.fingerprint}" + (f", new, in {made}" if made else ""))
    say_pipelines(settings)
    number = serve(duty, settings, found, say)
    say("stopped; the same command goes on")
    raise typer.Exit(SIGNALLED + number)


def _settings(
    duty: "Duty",
    pipeline: list[str] | None,
    *,
    strength: Strength,
    along_z: AlongZ,
    at_least: float | None,
    others: Others,
    jobs: int | None,
) -> "Settings":
    from medprotect.protect.atomic import make_folders

    # Each batch has its own; these are where the key must not lie.
    folders = [duty.state / name for name in ("incoming", "batches")]
    for folder in folders:
        make_folders(folder, 0o700)
    return make_settings(
        {"export": folders[0], "out": duty.out, "state": folders[1]},
        pipeline,
        strength,
        along_z,
        jobs,
        copy_others=others is Others.COPY,
        hold_series=False,
        at_least=at_least,
    )


def say_pipelines(settings: "Settings") -> None:
    """Say how much each pipeline that may be used was measured to protect."""
    from medprotect.cli.plan_view import candidates_in_words

    for words in candidates_in_words(settings):
        say(words)


def say(words: str) -> None:
    """Print a line with its time, for the log of whatever keeps us running."""
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {words}", file=sys.stderr, flush=True)
