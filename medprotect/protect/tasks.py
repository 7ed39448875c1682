"""What a run tells its workers, and what they answer."""

from dataclasses import dataclass

from medprotect import limits
from medprotect.scan.walk import Found


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
    strength, labels_sha256, keep_uids
        As `medprotect.protect.transforms.Protect` takes them.
    memory_bytes : int
        How much memory the worker may take.
    """

    export: str
    secret: str
    pipelines: dict[str, str]
    strength: str
    labels_sha256: str = ""
    keep_uids: bool = False
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
    voxels : Found or None
        The file that holds the voxels, where `found` is a header.
    staged_voxels : str
        As `staged`, for that file.
    """

    found: Found
    staged: str
    pipeline: str = ""
    label: str = ""
    seconds: float = limits.FILE_SECONDS
    voxels: Found | None = None
    staged_voxels: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a task.

    Attributes
    ----------
    slug, detail : str
        Of the error, "" where there was none.
    stops_run : bool
        Whether the error is none of the file's: the disk is full, a pipeline is damaged.
    sha256_in, sha256_out, size_out, images, share, notes
        As in `medprotect.protect.journal.Entry`.
    voxels_sha256_in, voxels_sha256_out, voxels_size_out
        The same of the file that holds the voxels.
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
    voxels_sha256_in: str = ""
    voxels_sha256_out: str = ""
    voxels_size_out: int = 0
