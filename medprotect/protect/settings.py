"""What a run is asked to do, and by what it is known when it goes on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import medprotect
from medprotect.confounder.along_z import COHERENT, check_along_z
from medprotect.confounder.key import Key
from medprotect.confounder.measured import Measured
from medprotect.errors import ConfigError
from medprotect.intensity.budget import BUDGET_RULE, STRENGTHS
from medprotect.plan.labels.sources import LabelSource
from medprotect.plan.plan import MaskNames, Rules
from medprotect.plan.selection import Candidate
from medprotect.protect.out_tree import OutFolder, OutTree
from medprotect.protect.remapping import EarlierUid
from medprotect.scan.walk import Tree

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a run is asked to do.

    Attributes
    ----------
    export, out, state : Path
        Roots of the trees; state holds journal, receipt and files on their way. Where one of
        the two below is given, workers find files of the export in `export`, and `out` is never
        made.
    export_tree : Tree or None
        The export, where it is no folder.
    out_tree : OutTree or None
        OUT, where it is no folder.
    candidates : tuple of Candidate
        Pipelines that may be picked.
    strength : str
        ``low``, ``standard`` or ``high``.
    jobs : int
        Worker processes.
    copy_others : bool
        Whether files that are no images are taken along.
    hold_series : bool
        Whether a series of which a file is rejected stays out of OUT as a whole.
    labels : mapping of str to str
        Class by path in the export, where it is known.
    labels_sha256 : str
        Of what decides them.
    label_source : LabelSource
        Where they are from, in words; and why what lies in the export is not used.
    mask_names : MaskNames
        What is a mask and what is none, where that is not left to its voxels.
    keep_uids : bool
        Whether DICOM UIDs are kept.
    along_z : str
        Whether the noise of the slices of a series is ``coherent`` or ``independent``.
    earlier_uid : callable
        Tells the new UID of what an earlier run of the same owner protected, by the name of the
        old, or None: files that refer to those are given them, too.
    rehash : bool
        Whether a run that goes on hashes all files, and not only those that look changed.
    at_least : float or None
        Protection below which an image is rejected, from 0 to 1; None to reject none for it.
    accept_weak : bool
        Whether a run succeeds that leaves weak or unmeasured images in OUT.

    Raises
    ------
    ConfigError
        A value is none of those possible.
    """

    export: Path
    out: Path
    state: Path
    candidates: tuple[Candidate, ...]
    strength: str = "standard"
    jobs: int = 1
    copy_others: bool = False
    hold_series: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)
    labels_sha256: str = ""
    label_source: LabelSource = field(default_factory=LabelSource)
    mask_names: MaskNames = field(default_factory=MaskNames)
    keep_uids: bool = False
    along_z: str = COHERENT
    earlier_uid: EarlierUid = lambda _name: None
    rehash: bool = False
    at_least: float | None = None
    accept_weak: bool = False
    export_tree: Tree | None = None
    out_tree: OutTree | None = None

    def __post_init__(self) -> None:
        if self.strength not in STRENGTHS:
            raise ConfigError(f"Strength is one of {', '.join(STRENGTHS)}.")
        check_along_z(self.along_z)
        if self.at_least is not None and not 0 <= self.at_least <= 1:
            raise ConfigError("The protection asked for (--at-least) lies between 0 and 1.")
        if self.jobs < 1:
            raise ConfigError("There must be at least one job.")
        names = [each.card.name for each in self.candidates]
        if len(set(names)) != len(names):
            raise ConfigError("Two pipelines have one name; rename the folder of one.")

    @property
    def classes(self) -> tuple[str, ...]:
        """All that the labels name, sorted."""
        return tuple(sorted(set(self.labels.values())))

    @property
    def source(self) -> Path | Tree:
        """What the run reads."""
        return self.export_tree or self.export

    @property
    def target(self) -> OutTree:
        """What the run writes."""
        return self.out_tree or OutFolder(self.out, self.state)

    @property
    def folders(self) -> tuple[Path | None, Path | None, Path]:
        """Export, OUT and state folder; None for what is no folder."""
        export = None if self.export_tree else self.export
        return export, None if self.out_tree else self.out, self.state

    @property
    def rules(self) -> Rules:
        """By what the plan is made."""
        return Rules(
            self.candidates,
            self.copy_others,
            self.labels,
            self.mask_names,
            self.target.path_bytes,
            self.strength,
            self.at_least,
            self.label_source.asked,
        )

    def measured_of(self, pipeline: str) -> Measured | None:
        """Return what a pipeline was measured to protect at the strength of the run."""
        found = (each for each in self.candidates if each.card.name == pipeline)
        return next((each.measured.get(self.strength) for each in found), None)

    def identity(self, key: Key) -> dict[str, object]:
        """Return what the bytes in OUT depend on: a run goes on only where it is the same."""
        return {
            "format": FORMAT,
            "medprotect": medprotect.__version__,
            "pipelines": {each.card.name: each.card.pipeline_sha256 for each in self.candidates},
            "named": [each.card.name for each in self.candidates if each.named],
            "strength": self.strength,
            "budget": BUDGET_RULE,
            "key": key.fingerprint,
            "labels": self.labels_sha256,
            "keep_uids": self.keep_uids,
            "along_z": self.along_z,
        }
