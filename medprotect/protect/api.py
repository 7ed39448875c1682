"""The Python API, whose names stand in `medprotect` itself; the command line does the same.

Each function does what the command of its name does, and raises what ends that command
(`medprotect.errors`). Nothing is printed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medprotect.confounder.along_z import COHERENT
from medprotect.confounder.card import Card, load_card
from medprotect.confounder.key import Key, default_key_path
from medprotect.confounder.measured import Measured, Protection
from medprotect.errors import ConfigError, InputError
from medprotect.imaging.pairs import read_content
from medprotect.intensity.budget import STRENGTHS
from medprotect.plan.labels.sources import NONE, FoundLabels, find_labels, given_labels
from medprotect.plan.selection import AUTO, find_candidates
from medprotect.protect import dry_run
from medprotect.protect.defaults import state_beside, usable_cores
from medprotect.protect.file_check import Verification
from medprotect.protect.inspection import Inspection, inspect_file
from medprotect.protect.journal import Entry
from medprotect.protect.settings import Settings
from medprotect.protect.summary import Summary

Pipelines = str | Path | Sequence[str | Path]
Labels = str | Path | Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class ProtectedFile:
    """A file that `protect_file` wrote.

    Attributes
    ----------
    path : Path
        Where it lies.
    pipeline : str
        Name of the pipeline that made the noise.
    strength : str
        ``low``, ``standard`` or ``high``.
    measured : Measured or None
        What the pipeline was measured to protect at this strength, against whom; None where
        nothing was measured.
    share_of_budget : float
        Largest change of a pixel as a share of its budget, 0..1, read from the disk.
    images : int
        Frames or slices that got noise.
    notes, warnings : tuple of str
        Slugs, as in the receipt of a run.
    """

    path: Path
    pipeline: str
    strength: str
    measured: Measured | None
    share_of_budget: float
    images: int
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def protection(self) -> float | None:
        """Share of what a model learns from originals that it does not learn with this noise.

        1 for all of it, 0 or less for nothing; None where it was not measured.
        """
        return self.measured.protection if self.measured else None

    @property
    def state(self) -> Protection:
        """Whether the image is ``protected``, ``weak`` or ``unmeasured``, by its protection."""
        return Protection.of(self.protection)


def protect_file(
    source: str | Path,
    target: str | Path,
    *,
    pipeline: Pipelines = AUTO,
    key: Key | str | Path | None = None,
    strength: str = "standard",
    along_z: str = COHERENT,
    keep_uids: bool = False,
    at_least: float | None = None,
) -> ProtectedFile:
    """Protect one file: the bytes are those that `medprotect run` writes for it by itself.

    It is decoded in this process; for files that may be damaged or hostile, use `protect_export`,
    whose workers may crash.

    Parameters
    ----------
    source : str or Path
        An image file; never opened for writing. With a header, the file of its voxels lies
        beside it.
    target : str or Path
        A new file, or a folder that is there: it takes the file under the name that a run gives
        it, ``a.jpg.png`` for a lossy ``a.jpg``.
    pipeline : str, Path or sequence of them
        ``auto``, names, or folders of your own.
    key : Key, str or Path, optional
        The owner's, or its file; without it the one that `medprotect run` made.
    strength : str
        ``low``, ``standard`` or ``high``: how much a pixel may change.
    along_z : str
        ``coherent`` or ``independent``: noise of the slices of a volume.
    keep_uids : bool
        Whether DICOM UIDs are kept.
    at_least : float, optional
        Protection, 0..1, below which the image is refused, and so is one whose protection was not
        measured.

    Returns
    -------
    ProtectedFile
        Where it lies, and what was done.

    Raises
    ------
    ConfigError
        No such strength, no key, or a target whose name does not fit what is written.
    InputError
        Of the kind that says why the file cannot be protected.
    OutputError
        The target exists.
    PipelineError
        There is no such pipeline, or it is damaged.
    StorageError
        The disk is full or fails.

    Examples
    --------
    >>> import medprotect
    >>> key = medprotect.Key.new()
    >>> done = medprotect.protect_file("slice.dcm", "protected.dcm", key=key)
    >>> done.pipeline, done.strength, done.protection, done.state.value
    ('ct', 'standard', -0.02, 'weak')
    >>> 0 < done.share_of_budget <= 1
    True
    """
    from medprotect.protect.one_file import protect_one

    if not Path(source).is_file():
        raise InputError("The source is not a file.")
    target = Path(target)
    settings = Settings(
        export=Path(),
        out=target,
        state=target,
        candidates=find_candidates(_list(pipeline)),
        strength=strength,
        along_z=along_z,
        keep_uids=keep_uids,
        at_least=at_least,
    )
    path, entry = protect_one(Path(source), target, settings, _load_key(key))
    return ProtectedFile(
        path=path,
        pipeline=entry.row.pipeline,
        strength=strength,
        measured=entry.row.measured,
        share_of_budget=entry.share,
        images=entry.images,
        notes=entry.notes,
        warnings=entry.row.warnings,
    )


def protect_export(
    export: str | Path,
    out: str | Path,
    *,
    pipeline: Pipelines = AUTO,
    key: Key | str | Path | None = None,
    strength: str = "standard",
    along_z: str = COHERENT,
    keep_uids: bool = False,
    at_least: float | None = None,
    accept_weak: bool = False,
    labels: Labels = None,
    copy_others: bool = False,
    hold_series: bool = True,
    state: str | Path | None = None,
    jobs: int | None = None,
) -> Summary:
    """Protect an export, or go on with it, as `medprotect run` does.

    It starts processes: in a script, call it below ``if __name__ == "__main__":``.

    Parameters
    ----------
    export, out : str or Path
        A folder, and a new one or that of an earlier run.
    pipeline, key, strength, along_z, keep_uids, at_least
        As `protect_file` takes them.
    accept_weak : bool
        Whether the exit code is 0 although weak or unmeasured images are in OUT.
    labels : str, Path or mapping of str to str, optional
        What the noise says: ``auto``, ``folders``, ``dicom:KEYWORD``, a table as ``FILE`` or
        ``FILE:COLUMN``, as the command takes them; or the class by path in the export. Without it
        none.
    copy_others : bool
        Whether files that are no images are taken along.
    hold_series : bool
        Whether a series of which a file is rejected stays out of OUT as a whole.
    state : str or Path, optional
        Folder of journal and receipt; without it ``OUT.medprotect`` beside OUT.
    jobs : int, optional
        Worker processes; without it one for each core.

    Returns
    -------
    Summary
        One entry for each file of the export, how many became what (``states``), and the exit
        code of the command.

    Raises
    ------
    ConfigError
        No such strength, no key, or no such labels.
    InputError
        The export is missing, or holds no files. Files that cannot be protected raise nothing:
        they are rejected, and their entries say why.
    OutputError
        OUT cannot be used, or belongs to another run.
    PipelineError
        There is no such pipeline, or it is damaged.
    StorageError
        The disk is full or fails; the same call goes on later.

    Examples
    --------
    >>> import medprotect
    >>> done = medprotect.protect_export("EXPORT", "OUT", key=medprotect.Key.new(), jobs=1)
    >>> dict(done.states)
    {'weak': 1, 'left': 1}
    """
    from medprotect.protect import engine

    settings = _settings(
        Path(export),
        Path(out),
        state,
        candidates=pipeline,
        strength=strength,
        along_z=along_z,
        keep_uids=keep_uids,
        at_least=at_least,
        accept_weak=accept_weak,
        labels=labels,
        copy_others=copy_others,
        hold_series=hold_series,
        jobs=jobs,
    )
    owner = _load_key(key)
    dry_run.refuse_empty(settings)
    return engine.protect_export(settings, owner)


def plan_export(
    export: str | Path,
    out: str | Path,
    *,
    pipeline: Pipelines = AUTO,
    strength: str = "standard",
    at_least: float | None = None,
    labels: Labels = None,
    copy_others: bool = False,
    hold_series: bool = True,
) -> list[Entry]:
    """Say what would become of each file of an export, as `medprotect run --dry-run` does.

    Nothing is written, and no pixel is decoded: an image stored in colour is planned as one in
    colour, if a pipeline takes it, though a run may find that every pixel of it is grey.

    Parameters
    ----------
    export, out, pipeline, strength, at_least, labels, copy_others, hold_series
        As `protect_export` takes them.

    Returns
    -------
    list of Entry
        One for each file, in the order of the paths. ``becomes`` says what a run makes of it;
        ``row`` holds pipeline, what that was measured to protect, warnings, and why a file is
        rejected.

    Raises
    ------
    ConfigError, InputError, OutputError, PipelineError
        As `protect_export`.

    Examples
    --------
    >>> import medprotect
    >>> for entry in medprotect.plan_export("EXPORT", "planned-out"):
    ...     print(entry.path, entry.becomes, entry.row.kind)
    1.dcm weak dicom CT
    notes.txt left text
    """
    return dry_run.plan_export(
        _settings(
            Path(export),
            Path(out),
            None,
            candidates=pipeline,
            strength=strength,
            at_least=at_least,
            labels=labels,
            copy_others=copy_others,
            hold_series=hold_series,
        )
    )


def verify(
    export: str | Path, out: str | Path, *, state: str | Path | None = None, jobs: int | None = None
) -> Verification:
    """Check a finished run again, from the files on the disk, as `medprotect verify` does.

    It says whether files are exact, and not whether models fail. It may start processes: in a
    script, call it below ``if __name__ == "__main__":``.

    Parameters
    ----------
    export, out, state, jobs
        As `protect_export` takes them.

    Returns
    -------
    Verification
        ``faults``, which is empty where files are exact; counts; the largest change of a pixel as
        ``share`` of its budget.

    Raises
    ------
    OutputError
        There is no finished run of this OUT, or one is at work.

    Examples
    --------
    >>> import medprotect
    >>> done = medprotect.protect_export("EXPORT", "checked", key=medprotect.Key.new(), jobs=1)
    >>> medprotect.verify("EXPORT", "checked").faults
    []
    """
    from medprotect.protect.verify import verify_run

    places = Path(export), Path(out), Path(state) if state else state_beside(Path(out))
    return verify_run(*places, jobs=jobs or usable_cores())


def inspect(file: str | Path, *, strength: str = "standard") -> Inspection:
    """Say what an image file is, and how much of it may change, as `medprotect inspect` does.

    Parameters
    ----------
    file : str or Path
        An image file; with a header, the file of its voxels lies beside it.
    strength : str
        ``low``, ``standard`` or ``high``.

    Returns
    -------
    Inspection
        What the header says, clinical windows in modality values, budget in stored values.

    Raises
    ------
    ConfigError
        There is no such strength.
    InputError
        Of the kind that says why it cannot be read.

    Examples
    --------
    >>> import medprotect
    >>> seen = medprotect.inspect("slice.dcm")
    >>> seen.description.kind, seen.description.traits.rows
    ('dicom CT', 128)
    >>> least, median, largest = seen.budget_lsb
    """
    if strength not in STRENGTHS:
        raise ConfigError(f"Strength is one of {', '.join(STRENGTHS)}.")
    if not Path(file).is_file():
        raise InputError("FILE is not a file.")
    return inspect_file(read_content(Path(file)), strength)


def load_pipeline(pipeline: str | Path) -> Card:
    """Read the card of a pipeline: what it is for, how it was made, what it knows.

    No network is loaded. `medprotect.protect.transforms.Protect` takes the card.

    Parameters
    ----------
    pipeline : str or Path
        Name of a shipped pipeline, or the folder of your own.

    Returns
    -------
    Card
        Name, modalities, classes, training; ``pipeline_sha256`` is what makes its noise.

    Raises
    ------
    PipelineError
        There is no such pipeline, or its card is not one.

    Examples
    --------
    >>> import medprotect
    >>> card = medprotect.load_pipeline("blood-microscopy")
    >>> card.images.channels, card.codes.classes[:2]
    (3, ('basophil', 'eosinophil'))
    """
    return load_card(pipeline)


def _list(pipelines: Pipelines) -> list[str]:
    several = [pipelines] if isinstance(pipelines, str | Path) else pipelines
    return [each if isinstance(each, str) else str(each.absolute()) for each in several]


def _load_key(key: Key | str | Path | None) -> Key:
    return key if isinstance(key, Key) else Key.load(Path(key) if key else default_key_path())


def _settings(
    export: Path,
    out: Path,
    state: str | Path | None,
    *,
    candidates: Pipelines,
    labels: Labels = None,
    copy_others: bool = False,
    jobs: int | None = None,
    **others: Any,
) -> Settings:
    found = find_candidates(_list(candidates))
    any_label = any(each.any_label for each in found)
    named: FoundLabels = (
        given_labels(labels)
        if isinstance(labels, Mapping)
        else find_labels(
            export, str(labels or NONE), copies_others=copy_others, any_label=any_label
        )
    )
    return Settings(
        export=export,
        out=out,
        state=Path(state) if state else state_beside(out),
        candidates=found,
        labels=named.by_path,
        labels_sha256=named.sha256,
        label_source=named.source,
        copy_others=copy_others,
        jobs=jobs or usable_cores(),
        **others,
    )
