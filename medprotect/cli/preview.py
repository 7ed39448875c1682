"""`medprotect preview`: a few images of each series, before and after, for a radiologist."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medprotect.cli.ending import ending
from medprotect.cli.run import (
    AlongZ,
    Export,
    HowAlongZ,
    HowOthers,
    HowStrong,
    Jobs,
    KeyFile,
    Labels,
    Masks,
    NoMasks,
    Others,
    Pipelines,
    Strength,
    find_key,
    make_settings,
    name_masks,
)

if TYPE_CHECKING:
    from medprotect.preview.page import Preview

_STANDS_FOR = {
    "--labels": "FILE",
    "--mask": "PATTERN",
    "--no-mask": "PATTERN",
    "--key": "KEY",
}

_PLAIN = ("none", "folders", "copy")

Images = Annotated[
    int,
    typer.Option(
        min=1, max=50, help="Images of each series: the first, the last, and evenly between."
    ),
]
Scratch = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder for the images while they are protected; emptied afterwards.",
        show_default="the system's folder for temporary files",
    ),
]
WithNames = Annotated[
    bool, typer.Option("--with-names", help="Show paths on the page. They may identify patients.")
]


def preview(
    export: Export,
    page: Annotated[Path, typer.Argument(metavar="[PAGE.html]", help="The page to write.")] = Path(
        "preview.html"
    ),
    images: Images = 3,
    pipeline: Pipelines = None,
    strength: HowStrong = Strength.STANDARD,
    along_z: HowAlongZ = AlongZ.COHERENT,
    labels: Labels = "auto",
    others: HowOthers = Others.LEAVE,
    mask: Masks = None,
    no_mask: NoMasks = None,
    key: KeyFile = None,
    jobs: Jobs = None,
    scratch: Scratch = None,
    with_names: WithNames = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object at the end.")
    ] = False,
) -> None:
    """Show a few images of each series before and after, on one page.

    Give it the options that you will give run: it protects these images exactly as run will.
    The page shows images in clear, so it must not leave the house.
    """
    with ending(as_json=as_json):
        from medprotect.cli.run_view import RunView
        from medprotect.preview.scratch import scratch_folder
        from medprotect.preview.write import Asked, check_page_place, write_preview

        given = {
            "--labels": None if labels == "auto" else labels,
            "--others": "copy" if others is Others.COPY else None,
            **{"--mask": mask, "--no-mask": no_mask, "--key": key},
        }
        check_page_place(page, export)
        with scratch_folder(export, scratch) as folder:
            places = {"export": export, "out": folder / "out", "state": folder / "out.medprotect"}
            settings = make_settings(
                places,
                pipeline,
                strength,
                along_z,
                jobs,
                labels=labels,
                copy_others=others is Others.COPY,  # which may decide what labels are used
                mask_names=name_masks(mask, no_mask),
            )
            found, made = find_key(key, settings)
            asked = Asked(
                page=page,
                images=images,
                command=command_of_run(strength, pipeline, given, along_z),
                with_names=with_names,
            )
            with RunView(settings, found, made, with_names=False, as_json=as_json) as view:
                seen = write_preview(settings, asked, folder, found, view.progress)
        if as_json:
            print(json.dumps(_as_json(seen, page, made), indent=1))
        else:
            _show(seen, page)


def command_of_run(
    strength: Strength,
    pipelines: Sequence[str] | None,
    given: Mapping[str, object],
    along_z: AlongZ = AlongZ.COHERENT,
) -> str:
    """Return the command that protects what was previewed, without anything personal.

    Parameters
    ----------
    strength : Strength
        As asked for.
    pipelines : sequence of str or None
        As asked for; folders do not stand in the command.
    given : mapping of str to object
        Other options; what they are set to does not stand in it.
    along_z : AlongZ
        As asked for.
    """
    words = ["medprotect run EXPORT OUT", f"--strength {strength.value}"]
    words += [] if along_z is AlongZ.COHERENT else [f"--along-z {along_z.value}"]
    words += [f"--pipeline {'FOLDER' if os.sep in each else each}" for each in pipelines or ()]
    words += [f"{option} {_shown(option, value)}" for option, value in given.items() if value]
    return " ".join(words)


def _shown(option: str, value: object) -> str:
    """Return what an option is set to, or what stands for it if that may be personal."""
    plain = isinstance(value, str) and (value in _PLAIN or value.startswith("dicom:"))
    return str(value) if plain else _STANDS_FOR[option]


def _show(seen: "Preview", page: Path) -> None:
    images = sum(len(shown) for _, shown in seen.shown)
    for reason, count in sorted(seen.rejected.items()):
        print(f"rejected: {count} {reason}")
    if seen.torn:
        print(f"held: {seen.torn} series with a rejected file; --on-reject keep lets the others go")
    print(
        f"shown: {images} of {seen.all_images} images, from {len(seen.shown)} of "
        f"{seen.all_series} series"
    )
    print(seen.summary)
    if seen.caveat:
        print(seen.caveat)
    print(f"page: {page}; it shows images in clear and must not leave the house")
    print(f"if a radiologist says yes: {seen.command}")


def _as_json(seen: "Preview", page: Path, made: Path | None) -> dict[str, Any]:
    return {
        "page": str(page),
        "series": {"in": seen.all_series, "shown": len(seen.shown), "held": seen.torn},
        "images": {
            "in": seen.all_images,
            "shown": sum(len(shown) for _, shown in seen.shown),
            "left_out": seen.left_out,
        },
        "rejected": dict(seen.rejected),
        "summary": seen.summary,
        "caveat": seen.caveat,
        "largest_share_of_budget": seen.share,
        "key": seen.key,
        "key_made": str(made) if made else None,
        "next": seen.command,
    }
