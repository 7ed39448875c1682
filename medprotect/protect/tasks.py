"""What a run tells its workers, and what they answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medprotect import limits
from medprotect.confounder.along_z import COHERENT
from medprotect.scan.walk import Found

TOO_LITTLE_OR_DAMAGED = (
    "there is too little memory for it, or it is damaged; run again with fewer --jobs, or split it"
)
"""Said of a file whose decoder failed where it may have had too little memory."""

WORKER_ENDED = "its worker was ended, for want of memory?"
"""Said of a file whose worker ended under it from outside."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker is told once.

    Attributes
    ----------
    export : str
        Root of the export.
    secret : str
        The owner's key, in hex.
    pipelines : dict of str to str
        Folder by name.
    strength, labels_sha256, classes, keep_uids, along_z
        As `medprotect.protect.transforms.Protect` takes them.
    memory_bytes : int
        How much memory the worker may take.
    """

    export: str
    secret: str
    pipelines: dict[str, str]
    strength: str
    labels_sha256: str = ""
    classes: tuple[str, ...] = ()
    keep_uids: bool = False
    along_z: str = COHERENT
    memory_bytes: int = limits.LEAST_WORKER_BYTES


@dataclass(frozen=True, slots=True)
class Task:
    """One file to do, or the two of an image.

    Attributes
    ----------
    found : Found
        As the plan found it.
    staged : str
        Path of the file to write, in the state folder.
    pipeline : str
        Its name; "" to copy the file as it is.
    label : str
        The class, where it is known.
    seconds : float
        How long the worker may take.
    remap : dict of str to str
        Where not empty, the file is done but for these UIDs that it refers to, by their names.
    made : str
        Path of the file that is done but for those, in the state folder.
    sha256_in : str
        Of the file of the export that it was made from.
    streamed : bool
        Whether it is protected frame by frame.
    decoding_bytes : int
        How much memory it may take; see `medprotect.protect.confinement.decoding_bytes`.
    voxels : Found or None
        The file that holds the voxels, where `found` is a header.
    staged_voxels : str
        As `staged`, for that file.
    looks_only : bool
        Whether its pixels are only looked at, for what would reject it; nothing is written.
    otherwise : str or None
        Of an image stored in colour, whose pixels may turn out to be all grey: the pipeline, if
        they are not what `as_grey` takes them for; "" if none takes it then, and nothing is
        written. None where there is no such question.
    as_grey : bool
        Whether `pipeline` takes an image stored in colour for grey.
    """

    found: Found
    staged: str
    pipeline: str = ""
    label: str = ""
    seconds: float = limits.FILE_SECONDS
    remap: dict[str, str] = field(default_factory=dict)
    made: str = ""
    sha256_in: str = ""
    streamed: bool = False
    decoding_bytes: int = 0
    voxels: Found | None = None
    staged_voxels: str = ""
    looks_only: bool = False
    otherwise: str | None = None
    as_grey: bool = False

    def pipeline_for(self, *, shows_grey: bool) -> str:
        """Return the pipeline for the pixels that were found; "" where none takes them."""
        if self.otherwise is None or shows_grey == self.as_grey:
            return self.pipeline
        return self.otherwise


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a task.

    Attributes
    ----------
    slug, detail : str
        Of the error, "" where there was none.
    stops_run : bool
        Whether the error is none of the file's: the disk is full, a pipeline is damaged.
    sha256_in, sha256_out, size_out, images, share, notes, uids, references
        As in `medprotect.protect.journal.Entry`.
    voxels_sha256_in, voxels_sha256_out, voxels_size_out
        The same of the file that holds the voxels.
    shows_grey : bool or None
        Of an image stored in colour: whether it shows nothing but grey; None where that was not
        found out. Of others it says nothing.
    """

    slug: str = ""
    detail: str = ""
    stops_run: bool = False
    sha256_in: str = ""
    sha256_out: str = ""
    size_out: int = 0
    images: int = 0
    share: float = 0.0
    notes: tuple[str, ...] = ()
    uids: dict[str, str] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    voxels_sha256_in: str = ""
    voxels_sha256_out: str = ""
    voxels_size_out: int = 0
    shows_grey: bool | None = None


def parse_task(fields: Mapping[str, Any]) -> Task:
    """Return the task that `dataclasses.asdict` made JSON of."""
    found, voxels = Found(**fields["found"]), fields["voxels"]
    return Task(**{**fields, "found": found, "voxels": Found(**voxels) if voxels else None})


def parse_result(fields: Mapping[str, Any]) -> Result:
    """Return the result that `dataclasses.asdict` made JSON of."""
    lists = {name: tuple(fields[name]) for name in ("notes", "references")}
    return Result(**{**fields, **lists})
