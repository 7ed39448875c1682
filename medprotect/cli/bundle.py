"""`medprotect bundle`: pipelines as MONAI bundles, in and out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medprotect.cli.ending import ending
from medprotect.cli.run import (
    AcceptWeak,
    AlongZ,
    Export,
    HowAlongZ,
    HowStrong,
    Jobs,
    KeepUids,
    KeyFile,
    Out,
    State,
    Strength,
    carry_out,
    find_key,
)
from medprotect.protect.defaults import state_beside, usable_cores

if TYPE_CHECKING:
    from medprotect.protect.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Pipelines as MONAI bundles: export, run, allow.")

Bundle = Annotated[Path, typer.Argument(help="A bundle: a folder or a zip.")]


@app.command()
def export(
    pipeline: Annotated[str, typer.Argument(help="A name, or the folder of your own pipeline.")],
    out: Annotated[Path, typer.Argument(help="The zip to write; must not exist.")],
    share_secret: Annotated[
        bool,
        typer.Option(
            "--i-share-my-secret", help="Export your own pipeline, whose weights are secret."
        ),
    ] = False,
) -> None:
    """Write a pipeline as a MONAI bundle, with a model.pt for MONAI's own commands."""
    with ending():
        from medprotect.bundle.export import export_bundle

        contents = export_bundle(pipeline, out, share_secret=share_secret)
        print(f"bundle {contents.sha256}")
        print(f"{len(contents.files)} files in {out}; each has its hash in SHA256SUMS")


@app.command()
def allow(bundle: Bundle) -> None:
    """Allow a bundle to run its own configs: put its hash on your list.

    The configs of a bundle are programs, and can do everything that you can. Read them first.
    """
    with ending():
        from medprotect.bundle.allowed import allow, default_allow_list
        from medprotect.bundle.archive import read_bundle

        sha256 = read_bundle(bundle).sha256
        allow(default_allow_list(), sha256, bundle.resolve().name)
        print(f"bundle {sha256} is in {default_allow_list()}; remove its line to forbid it again")


@app.command()
def run(
    bundle: Bundle,
    export: Export,
    out: Out,
    strength: HowStrong = Strength.STANDARD,
    along_z: HowAlongZ = AlongZ.COHERENT,
    accept_weak: AcceptWeak = False,
    key: KeyFile = None,
    keep_uids: KeepUids = False,
    jobs: Jobs = None,
    state: State = None,
) -> None:
    """Write an export again, with the noise of a bundle.

    Its own configs run only if you have allowed the bundle (`medprotect bundle allow BUNDLE`).
    Otherwise only its card and weights are used, as by `run`.
    """
    with ending():
        from medprotect.bundle.allowed import default_allow_list, read_allow_list
        from medprotect.bundle.archive import read_bundle
        from medprotect.bundle.running import unpacked
        from medprotect.plan.selection import Candidate
        from medprotect.protect.settings import Settings

        contents = read_bundle(bundle)
        allowed = contents.sha256 in read_allow_list(default_allow_list())
        with unpacked(contents, whole=allowed) as card:
            settings = Settings(
                export=export,
                out=out,
                state=state or state_beside(out),
                candidates=(Candidate(card, named=True),),
                strength=strength.value,
                along_z=along_z.value,
                jobs=jobs or usable_cores(),
                keep_uids=keep_uids,
                accept_weak=accept_weak,
            )
            if allowed:
                _run_program(settings, key)
                return
            print(f"bundle {contents.sha256} is not allowed to run its own configs:")
            print("only its card and weights are used, as by `run`")
            carry_out(settings, *find_key(key, settings))


def _run_program(settings: "Settings", key: Path | None) -> None:
    from collections import Counter

    from medprotect.bundle.running import run_program
    from medprotect.confounder.key import default_key_path
    from medprotect.confounder.measured import Protection, caveat_in_words, protection_in_words
    from medprotect.protect.summary import INCOMPLETE_EXIT_CODE

    print("the bundle is allowed: its configs are run")
    find_key(key, settings)  # makes one where there is none
    card = settings.candidates[0].card
    done = run_program(card, settings, key or default_key_path())
    print(f"{done.files} in = {done.checked} in OUT + {done.left} left out")
    if not done.checked:
        return
    states: Counter[Protection] = Counter()
    for measured, count in done.measured.items():
        states[Protection.of(measured.protection if measured else None)] += count
    parts = " + ".join(f"{count} {state.value}" for state, count in states.items())
    print(protection_in_words(done.measured))
    if caveat := caveat_in_words(done.measured):
        print(caveat)
    print(f"{done.checked} in OUT, each compared with its original = {parts}")
    if states.keys() - {Protection.PROTECTED} and not settings.accept_weak:
        raise typer.Exit(INCOMPLETE_EXIT_CODE)
