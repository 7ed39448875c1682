"""`medprotect inspect`: one file under the lens."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medprotect.cli.ending import ending

if TYPE_CHECKING:
    from medprotect.confounder.measured import Measured
    from medprotect.imaging.image import Content
    from medprotect.plan.selection import Candidate, Choice
    from medprotect.protect.inspection import Inspection


def inspect(
    file: Annotated[Path, typer.Argument(help="An image file.")],
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Also draw before, after and noise x16 there. Such a picture must not leave the "
            "house.",
        ),
    ] = None,
    pipeline: Annotated[
        list[str] | None, typer.Option("--pipeline", help="As for run.", show_default="auto")
    ] = None,
    strength: Annotated[str, typer.Option(help="low, standard or high.")] = "standard",
    key: Annotated[
        Path | None,
        typer.Option(help="The owner's key. Default: that of run, or a temporary one."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what kind of image a file is, its windows, and how much of it may change."""
    with ending(as_json=as_json):
        from medprotect.errors import ConfigError, InputError, NoPipelineError
        from medprotect.imaging.pairs import read_content
        from medprotect.intensity.budget import STRENGTHS
        from medprotect.plan.selection import choose_pipeline, find_candidates
        from medprotect.protect.inspection import inspect_file

        if strength not in STRENGTHS:
            raise ConfigError(f"Strength is one of {', '.join(STRENGTHS)}.")
        if not file.is_file():
            raise InputError("FILE is not a file.")
        data = read_content(file)
        seen = inspect_file(data, strength)
        candidates = find_candidates(pipeline or ["auto"])
        choice: Choice | None = None
        reason = ""
        try:
            if seen.description.traits is not None:
                choice = choose_pipeline(candidates, seen.description.traits, strength)
        except NoPipelineError as error:
            reason = str(error)
        if as_json:
            print(json.dumps(_as_json(seen, choice, reason), indent=1))
        else:
            _show(seen, choice, reason, strength)
        if picture is not None:
            if choice is None:
                raise NoPipelineError(reason)
            drawn = _draw(data, candidates, choice, strength, key, picture, file.name)
            if not as_json:
                print(f"picture    {drawn}")


def _show(seen: "Inspection", choice: "Choice | None", reason: str, strength: str) -> None:
    traits = seen.description.traits
    assert traits is not None  # noqa: S101 - an inspected file is an image
    stored = f"grey stored as {traits.photometric}" if traits.shows_grey else traits.photometric
    print(f"kind       {seen.description.kind}, {stored}, {traits.compression}")
    print(
        f"matrix     {traits.images} x {traits.rows} x {traits.columns} x {traits.channels}, "
        f"{traits.bits_stored} bits{', signed' if traits.signed else ''}"
        f"{', floating point' if traits.floating else ''}"
    )
    for window in seen.windows:
        print(f"window     {window.center:g} / {window.width:g} {window.function}")
    least, median, largest = seen.budget_lsb
    print(
        f"budget     {least:g} to {largest:g} stored values, median {median:g} "
        f"({median * abs(seen.slope):g} in modality values)"
    )
    print(f"may change {seen.free:.1%} of the pixels; {seen.masked:.1%} are masked")
    from collections import Counter

    from medprotect.protect.receipt import warn_in_words

    print(
        f"pipeline   {choice.pipeline} ({choice.why})" if choice else f"pipeline   none: {reason}"
    )
    if choice is not None:
        print(f"noise      {_measured_in_words(choice.measured, strength)}")
    if seen.refusal:
        print(f"rejected   {seen.refusal}")
    warned = Counter((*seen.description.warnings, *(choice.warnings if choice else ())))
    for sentence in warn_in_words(warned):
        print(f"warning    {sentence}")


def _measured_in_words(measured: "Measured | None", strength: str) -> str:
    from medprotect.confounder.measured import Protection, figures_in_words

    if measured is None:
        return Protection.UNMEASURED.value
    word = Protection.of(measured.protection).value
    return f"{word}, protection {figures_in_words(measured, strength)}"


def _as_json(seen: "Inspection", choice: "Choice | None", reason: str) -> dict[str, Any]:
    fields = asdict(seen)
    for name in ("series", "instance", "uids", "detached"):  # of the header, or made of it
        del fields["description"][name]
    for window in fields["windows"]:
        del window["lut"]  # thousands of numbers; center and width say where it works
    return {
        **fields,
        "pipeline": choice.pipeline if choice else None,
        "picked_by": choice.why if choice else reason,
        "protection": choice.protection if choice else None,
        "measured": asdict(choice.measured) if choice and choice.measured else None,
    }


def _draw(
    data: "Content",
    candidates: "tuple[Candidate, ...]",
    choice: "Choice",
    strength: str,
    key_file: Path | None,
    folder: Path,
    name: str,
) -> Path:
    from medprotect.confounder.key import Key, default_key_path
    from medprotect.confounder.noise import Confounder
    from medprotect.protect.atomic import make_folders
    from medprotect.protect.inspection import check_picture_folder, draw_comparison

    check_picture_folder(folder)
    place = key_file or default_key_path()
    key = Key.load(place) if key_file or place.exists() else Key.new()
    (card,) = (each.card for each in candidates if each.card.name == choice.pipeline)
    drawn = draw_comparison(data, Confounder(card, key).noise, strength)
    make_folders(folder, mode=0o700)
    path = folder / f"{name}.before-after-noise.png"
    path.write_bytes(drawn)
    return path
