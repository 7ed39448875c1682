"""`medprotect run`: protect an export."""

import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medprotect.cli.ending import ending
from medprotect.errors import InputError, MedprotectError
from medprotect.protect.defaults import usable_cores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medprotect.cli.run_view import RunView
    from medprotect.confounder.key import Key
    from medprotect.plan.plan import MaskNames
    from medprotect.protect.pool import HireWorkers
    from medprotect.protect.settings import Settings
    from medprotect.vault.make import Made
    from medprotect.vault.recipients import Recipient


class Strength(StrEnum):
    """How much a pixel may change."""

    LOW = "low"
    STANDARD = "standard"
    HIGH = "high"


class Others(StrEnum):
    """What happens to files that are not images."""

    LEAVE = "leave"
    COPY = "copy"


class OnReject(StrEnum):
    """What happens to a series if one of its files is rejected."""

    HOLD_SERIES = "hold-series"
    KEEP = "keep"


class AlongZ(StrEnum):
    """How the noise of neighbouring slices is related."""

    COHERENT = "coherent"
    INDEPENDENT = "independent"


class Engine(StrEnum):
    """Where the worker processes are."""

    LOCAL = "local"
    RAY = "ray"


Export = Annotated[Path, typer.Argument(help="The folder of images to protect.")]
Out = Annotated[Path, typer.Argument(help="A new folder, or the OUT of a run to continue.")]
ExportOrUrl = Annotated[
    str,
    typer.Argument(
        metavar="EXPORT", help="The folder of images to protect, or s3://BUCKET/PREFIX."
    ),
]
OutOrUrl = Annotated[
    str,
    typer.Argument(
        metavar="OUT", help="A new folder, or the OUT of a run to continue, or s3://BUCKET/PREFIX."
    ),
]
Pipelines = Annotated[
    list[str] | None,
    typer.Option(
        "--pipeline",
        help="auto, a name, or the folder of your own pipeline. May be given more than once.",
        show_default="auto",
    ),
]
Labels = Annotated[
    str,
    typer.Option(
        metavar="auto|none|folders|dicom:KEYWORD|FILE[:COLUMN]",
        help="What models would learn, which the noise then says. auto: labels that leave with the "
        "export; folders: their names; dicom: a header field; FILE: a table in CSV, TSV, XLSX or "
        "JSON.",
    ),
]
HowOthers = Annotated[
    Others, typer.Option(help="Files that are not images: leave them out, or copy them.")
]
Masks = Annotated[
    list[str] | None,
    typer.Option(
        "--mask",
        metavar="PATTERN",
        help="Paths of label maps or masks, such as '*_seg.*', which are not images. May be given "
        "more than once.",
        show_default="volumes that look like masks",
    ),
]
NoMasks = Annotated[
    list[str] | None,
    typer.Option(
        "--no-mask",
        metavar="PATTERN",
        help="Paths of images that look like a mask; '*' for all. Overrides --mask.",
        show_default=False,
    ),
]
HowRejected = Annotated[
    OnReject,
    typer.Option(help="If a file is rejected: hold its whole series, or keep the others."),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(help="The owner's key. Default: the one in your configuration folder."),
]
Jobs = Annotated[
    int | None, typer.Option(min=1, help="Worker processes.", show_default="one per core")
]
HowDriven = Annotated[
    Engine, typer.Option(help="Run the workers on this machine, or on the nodes of a Ray cluster.")
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="The head of the Ray cluster.",
        show_default="start Ray on this machine",
    ),
]
State = Annotated[
    Path | None,
    typer.Option(
        help="Folder for journal and receipt. Default: OUT.medprotect.", show_default=False
    ),
]
VaultFile = Annotated[
    Path | None,
    typer.Option(
        "--vault",
        metavar="FILE",
        help="Also make a vault, from which `restore` gives the export back. Keep it in the house.",
        show_default=False,
    ),
]
Recipients = Annotated[
    list[str] | None,
    typer.Option(
        "--recipient",
        metavar="WORD",
        help="Somebody else who may open the vault: the word that `medprotect key recipient` shows "
        "them. May be given more than once.",
        show_default=False,
    ),
]
HowStrong = Annotated[Strength, typer.Option(help="How much a pixel may change.")]
KeepUids = Annotated[
    bool, typer.Option("--keep-uids", help="Keep the UIDs of DICOM instances and series.")
]
Restart = Annotated[
    bool, typer.Option("--restart", help="Remove what an earlier run wrote, begin anew.")
]
HowAlongZ = Annotated[
    AlongZ,
    typer.Option(
        help="Noise of the slices of a volume or series: similar in neighbours, or independent."
    ),
]


AtLeast = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        metavar="PROTECTION",
        help="Reject images whose pipeline was measured to protect less than this at this "
        "strength, or was not measured; 0.5 keeps weak images out of OUT.",
        show_default="none is rejected for it",
    ),
]
AcceptWeak = Annotated[
    bool,
    typer.Option("--accept-weak", help="End with 0 although weak or unmeasured images are in OUT."),
]
_NO_IMAGE = (
    "EXPORT holds no image, so there is nothing to protect. To see what one of its files is: "
    "`medprotect inspect FILE`. Volumes that were taken for masks are images with "
    "--no-mask PATTERN"
)


DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan, and write nothing.")]
Files = Annotated[bool, typer.Option("--files", help="With --dry-run: show each file.")]
Rehash = Annotated[bool, typer.Option("--rehash", help="When continuing, hash every file again.")]
WithNames = Annotated[
    bool, typer.Option("--with-names", help="Show paths; they may identify patients.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")]


def run(
    export: ExportOrUrl,
    out: OutOrUrl,
    pipeline: Pipelines = None,
    strength: HowStrong = Strength.STANDARD,
    along_z: HowAlongZ = AlongZ.COHERENT,
    dry_run: DryRun = False,
    files: Files = False,
    at_least: AtLeast = None,
    accept_weak: AcceptWeak = False,
    labels: Labels = "auto",
    others: HowOthers = Others.LEAVE,
    mask: Masks = None,
    no_mask: NoMasks = None,
    on_reject: HowRejected = OnReject.HOLD_SERIES,
    vault: VaultFile = None,
    recipient: Recipients = None,
    key: KeyFile = None,
    keep_uids: KeepUids = False,
    jobs: Jobs = None,
    engine: HowDriven = Engine.LOCAL,
    address: Address = None,
    state: State = None,
    rehash: Rehash = False,
    restart: Restart = False,
    with_names: WithNames = False,
    as_json: AsJson = False,
) -> None:
    """Write a copy of an export with noise in its images. What no pipeline fits is left out.

    The last lines say how many images are protected, weak or unmeasured. OUT is what you hand out.
    OUT.medprotect, beside it, stays in the house: its receipt says what became of every file.
    """
    with ending(as_json=as_json):
        if dry_run:
            _prepare_workers()
        from medprotect.cli.places import find_places

        on_cluster = _is_on_cluster(engine, address)
        places = find_places(export, out, state, with_vault=bool(vault), on_cluster=on_cluster)
        settings = make_settings(
            places.fields(),
            pipeline,
            strength,
            along_z,
            jobs,
            labels=labels,
            copy_others=others is Others.COPY,
            hold_series=on_reject is OnReject.HOLD_SERIES,
            mask_names=name_masks(mask, no_mask),
            keep_uids=keep_uids,
            rehash=rehash,
            at_least=at_least,
            accept_weak=accept_weak,
        )
        keeping = _read_keeping(vault, recipient, settings)
        shown: Any = {"keeping": keeping, "with_names": with_names, "as_json": as_json}
        if dry_run:
            _show_plan(settings, with_files=files, **shown)
            return
        made = find_key(key, settings)
        hire = _cluster(settings, key, address, jobs) if on_cluster else places.hire
        carry_out(settings, *made, restart=restart, hire=hire, **shown)


def make_settings(
    places: "Mapping[str, Any]",
    pipelines: list[str] | None,
    strength: Strength,
    along_z: AlongZ,
    jobs: int | None,
    *,
    labels: str = "none",
    **others: Any,
) -> "Settings":
    """Return the settings of a run, as options of the command line say them.

    Parameters
    ----------
    places : mapping
        ``export``, ``out``, ``state`` and what else `Settings` has for these.
    pipelines, strength, along_z, jobs
        As given; None for the default.
    labels : str
        As `medprotect.plan.labels.sources.find_labels` takes them.
    **others
        As `medprotect.protect.settings.Settings` names them.
    """
    from medprotect.plan.labels.sources import find_labels
    from medprotect.plan.selection import find_candidates
    from medprotect.protect.settings import Settings

    candidates = find_candidates(pipelines or ["auto"])
    found = find_labels(
        places.get("export_tree") or places["export"],
        labels,
        copies_others=others.get("copy_others", False),
        any_label=any(each.any_label for each in candidates),
    )
    return Settings(
        **places,
        labels=found.by_path,
        labels_sha256=found.sha256,
        label_source=found.source,
        candidates=candidates,
        strength=strength.value,
        along_z=along_z.value,
        jobs=jobs or usable_cores(),
        **others,
    )


def name_masks(masks: list[str] | None, images: list[str] | None) -> "MaskNames":
    """Return which paths are masks and which are not, as options say it."""
    from medprotect.plan.plan import MaskNames

    return MaskNames(tuple(masks or ()), tuple(images or ()))


def _is_on_cluster(engine: Engine, address: str | None) -> bool:
    from medprotect.errors import ConfigError
    from medprotect.scale.session import require_ray

    if engine is Engine.RAY:
        require_ray()
    elif address is not None:
        raise ConfigError("--address needs --engine ray.")
    return engine is Engine.RAY


def _cluster(
    settings: "Settings", key: Path | None, address: str | None, jobs: int | None
) -> "HireWorkers":
    from medprotect.confounder.key import default_key_path
    from medprotect.scale.ray_pool import RayCluster

    everywhere = settings.jobs if address and not jobs else 0
    return RayCluster(settings.state, key or default_key_path(), address or "", everywhere)


@dataclass(frozen=True, slots=True)
class Keeping:
    """The vault that is made when a run is done, and who can open it besides the owner."""

    file: Path
    recipients: "list[Recipient]"


def _read_keeping(
    file: Path | None, words: list[str] | None, settings: "Settings"
) -> Keeping | None:
    """Read which vault is asked for; what would stop it stops the run before it begins."""
    from medprotect.errors import ConfigError

    if file is None:
        if words:
            raise ConfigError("--recipient needs --vault FILE.")
        return None
    from medprotect.vault.places import check_vault_place
    from medprotect.vault.recipients import Recipient

    check_vault_place(file, settings.export, settings.out)
    return Keeping(file, [Recipient.parse(word) for word in words or ()])


def _prepare_workers() -> None:
    """Have the workers of a plan ready by the time that the headers are read."""
    from medprotect.protect.forking import LOOKING, prepare_workers

    prepare_workers("medprotect.cli", LOOKING)


def _show_plan(
    settings: "Settings",
    *,
    keeping: Keeping | None,
    with_files: bool,
    with_names: bool,
    as_json: bool,
) -> None:
    from medprotect.cli.plan_view import show_plan
    from medprotect.protect.dry_run import look_ahead, plan_export, refuse_empty
    from medprotect.protect.journal import Outcome

    refuse_empty(settings)
    entries, unknown = look_ahead(settings, plan_export(settings))
    show_plan(
        settings,
        entries,
        with_names=with_names,
        as_json=as_json,
        with_files=with_files,
        with_vault=keeping is not None,
        unknown=unknown,
    )
    if all(entry.outcome in (Outcome.LEFT, Outcome.PLANNED) for entry in entries) and not any(
        entry.row.pipeline for entry in entries
    ):
        raise InputError(_NO_IMAGE)


def find_key(
    path: Path | None, settings: "Settings", *, waits: bool = False
) -> tuple["Key", Path | None]:
    """Return the key, and where it was made if it was made now.

    No key is made for an export without files, unless the command `waits` for some.
    """
    from medprotect.confounder.key import Key, default_key_path
    from medprotect.protect.dry_run import refuse_empty
    from medprotect.protect.places import check_key_place
    from medprotect.scan.walk import check_trees

    check_trees(*settings.folders)
    if not waits:
        refuse_empty(settings)
    place = path or default_key_path()
    check_key_place(place, settings)
    if path is not None or place.exists():
        return Key.load(place), None
    key = Key.new()
    key.save(place)
    return key, place


def carry_out(
    settings: "Settings",
    key: "Key",
    made: Path | None,
    *,
    restart: bool = False,
    with_names: bool = False,
    as_json: bool = False,
    keeping: Keeping | None = None,
    hire: "HireWorkers | None" = None,
) -> None:
    """Protect the export, keep it in a vault if asked to, show how it went, end with its code."""
    from medprotect.cli.run_view import RunView
    from medprotect.protect.engine import protect_export
    from medprotect.protect.pool import Pool

    kept: Made | MedprotectError | None = None
    vault = keeping.file if keeping else None
    with RunView(settings, key, made, with_names=with_names, as_json=as_json, vault=vault) as view:
        summary = protect_export(
            settings, key, view.progress, begin_anew=restart, hire=hire or Pool
        )
        if keeping and not summary.interrupted:
            kept = _keep(settings, key, keeping, view)
    view.show_end(summary, kept)
    if isinstance(kept, MedprotectError):
        print(f"error: {kept}", file=sys.stderr)
        raise typer.Exit(kept.exit_code)
    if summary.exit_code == InputError.exit_code:
        print(f"error: {_NO_IMAGE}", file=sys.stderr)
    if summary.exit_code:
        raise typer.Exit(summary.exit_code)


def _keep(
    settings: "Settings", key: "Key", keeping: Keeping, view: "RunView"
) -> "Made | MedprotectError":
    """Make the vault of a run; its errors are told after what became of the run."""
    from medprotect.vault.make import make_vault

    places = settings.export, settings.out, settings.state
    try:
        return make_vault(*places, keeping.file, key, keeping.recipients, view.keeping)
    except MedprotectError as error:
        return error
