"""`medprotect watch`: protect a folder whenever it has come to rest."""

import signal
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
    Out,
    Pipelines,
    State,
    Strength,
    find_key,
    make_settings,
)
from medprotect.protect.defaults import state_beside

if TYPE_CHECKING:
    from medprotect.protect.summary import Summary


def watch(
    folder: Annotated[Path, typer.Argument(help="The folder where files arrive.")],
    out: Out,
    settle: Annotated[
        float, typer.Option(min=0, help="Seconds without a change before files are protected.")
    ] = 30,
    pipeline: Pipelines = None,
    strength: HowStrong = Strength.STANDARD,
    along_z: HowAlongZ = AlongZ.COHERENT,
    at_least: AtLeast = None,
    others: HowOthers = Others.LEAVE,
    key: KeyFile = None,
    jobs: Jobs = None,
    state: State = None,
) -> None:
    """Add noise to what arrives in a folder, whenever nothing in it has changed for a while.

    Each time it runs `medprotect run FOLDER OUT`, which keeps what is done, and says how much of
    OUT is protected, weak or unmeasured. It ends when stopped, or with the exit code of a run that
    cannot continue.
    """
    with ending():
        from medprotect.cli.node import say_pipelines
        from medprotect.network.watch import watch as go_on

        settings = make_settings(
            {"export": folder, "out": out, "state": state or state_beside(out)},
            pipeline,
            strength,
            along_z,
            jobs,
            copy_others=others is Others.COPY,
            at_least=at_least,
        )
        found, _ = find_key(key, settings, waits=True)
        say_pipelines(settings)
        signal.signal(signal.SIGTERM, _end)
        number = go_on(settings, found, settle, _tell)
        raise typer.Exit(SIGNALLED + number)


def _end(number: int, _frame: object) -> None:
    raise KeyboardInterrupt(number)


def _tell(summary: "Summary") -> None:
    from collections import Counter

    from medprotect.cli.node import say
    from medprotect.cli.run_view import totals_in_words
    from medprotect.protect.journal import Outcome
    from medprotect.protect.receipt import count_warnings, warn_in_words

    reasons = Counter(
        entry.row.reason for entry in summary.entries if entry.outcome is Outcome.REJECTED
    )
    for reason, count in reasons.most_common():
        say(f"rejected: {count} {reason}")
    for sentence in warn_in_words(count_warnings(summary.entries)):
        say(f"warning: {sentence}")
    for line in totals_in_words(summary):
        say(line)
