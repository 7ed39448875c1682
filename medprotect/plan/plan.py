"""What is to become of every entry of an export, before anything is written."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path

from medprotect.confounder.card import SLOTS
from medprotect.confounder.measured import Measured, Protection
from medprotect.errors import (
    ConfigError,
    ImageTooLargeError,
    InputError,
    MedprotectError,
    NoPipelineError,
    ProtectionTooLowError,
    UnsafePathError,
    place_of,
)
from medprotect.imaging import formats
from medprotect.imaging.image import Description, Detached, Role, Traits
from medprotect.imaging.pairs import choose_voxels
from medprotect.plan.patience import patience, planning_seconds
from medprotect.plan.selection import NOT_OF_PIPELINE, Candidate, Choice, choose_pipeline
from medprotect.scan.walk import Found, Tree, collisions, join_under, open_found


class Action(StrEnum):
    """What a run is to do with a file."""

    PROTECT = "protect"
    COPY = "copy"
    LEAVE = "leave"
    REJECT = "reject"


_IF_GREY = ", if its pixels are grey"


@dataclass(frozen=True, slots=True)
class Row:
    """The plan for one entry of the export.

    Attributes
    ----------
    found : Found
        The entry.
    action : Action
        What is to be done.
    kind : str
        Words for listings; nothing personal.
    out : str
        Relative path in OUT, for files that are to be there.
    series : str
        The same opaque text for all files of a series; "" for a file that is its own.
    instance : str
        Opaque text for the UID by which other files refer to an image; "" for none.
    pipeline, why : str
        For images to be protected: the pipeline's name, and what it was picked by.
    measured : Measured or None
        Of the pipeline at the strength of the run; None where nothing was measured.
    reason, detail : str
        For rejected files: slug and message of the error.
    warnings : tuple of str
        Slugs, of the header and of the choice.
    traits : Traits or None
        Of images.
    label : str
        The class, where it is known.
    voxels : str
        Of a header: path of the file that holds its voxels.
    header : str
        Of a file of voxels: path of its header. What becomes of one becomes of both.
    otherwise : Row or None
        Of an image stored in colour, whose pixels may turn out to be all grey: the plan, if they
        are not what `traits` takes them for (`Traits.shows_grey`). None once that is known.
    """

    found: Found
    action: Action
    kind: str = ""
    out: str = ""
    series: str = ""
    instance: str = ""
    pipeline: str = ""
    why: str = ""
    reason: str = ""
    detail: str = ""
    warnings: tuple[str, ...] = ()
    traits: Traits | None = None
    label: str = ""
    voxels: str = ""
    header: str = ""
    measured: Measured | None = None
    otherwise: "Row | None" = None

    def settle(self, *, shows_grey: bool | None) -> "Row":
        """Return the plan once the pixels are decoded; the same where that is not known."""
        if self.otherwise is None or self.traits is None or shows_grey is None:
            return self
        if shows_grey == self.traits.shows_grey:
            return replace(self, why=self.why.removesuffix(_IF_GREY), otherwise=None)
        return self.otherwise

    @property
    def protection(self) -> float | None:
        """Measured, against who has no clean image; None where nothing was measured."""
        return self.measured.protection if self.measured else None

    @property
    def is_of_pipeline(self) -> bool:
        """Whether its pipeline was made for its modality, and what was measured holds for it."""
        return NOT_OF_PIPELINE not in self.warnings

    @property
    def state(self) -> Protection:
        """What the image is in OUT, once it carries the noise of its pipeline."""
        return Protection.of(self.protection)


FOLDER_MARKER = "folder marker"
"""Kind of the empty objects by which stores name folders; they are left, and counted."""

MASK_BY_NAME = "mask_by_name"
"""Warning of an image that is left alone because it was said to be a mask."""


@dataclass(frozen=True, slots=True)
class MaskNames:
    """What is a mask or label map whatever it looks like, and what is none.

    Attributes
    ----------
    masks, images : tuple of str
        Patterns of paths in the export, as `fnmatch` takes them; ``*`` stands for slashes too. A
        path that fits both is an image.
    """

    masks: tuple[str, ...] = ()
    images: tuple[str, ...] = ()

    def say_of(self, path: str) -> bool | None:
        """Return whether a file is a mask; None where nothing is said."""
        if any(fnmatchcase(path, pattern) for pattern in self.images):
            return False
        return True if any(fnmatchcase(path, pattern) for pattern in self.masks) else None


@dataclass(frozen=True, slots=True)
class Rules:
    """By what a plan is made.

    Attributes
    ----------
    candidates : sequence of Candidate
        Pipelines that may be picked.
    copy_others : bool
        Whether files that are no images are taken along.
    labels : mapping of str to str
        Class by path, where it is known.
    mask_names : MaskNames
        What is a mask and what is none, where that is not left to its voxels.
    path_bytes : int or None
        Longest path that OUT takes, where that is bounded as a whole.
    strength : str
        Of the noise: how much it was measured to protect depends on it.
    at_least : float or None
        Protection below which an image is rejected, and so is one whose protection was not
        measured; None to reject none for it.
    labels_asked : bool
        Whether labels were asked for: then one that its pipeline does not know ends the plan.
    """

    candidates: Sequence[Candidate]
    copy_others: bool = False
    labels: Mapping[str, str] | None = None
    mask_names: MaskNames = field(default_factory=MaskNames)
    path_bytes: int | None = None
    strength: str = "standard"
    at_least: float | None = None
    labels_asked: bool = True


def plan_rows(
    export: Path | Tree, out: Path, found: Iterable[Found], rules: Rules
) -> Iterator[Row]:
    """Yield the plan for each entry, read from its header.

    `medprotect.plan.pairing.settle` comes after.

    Parameters
    ----------
    export : Path or Tree
        Root of the export.
    out : Path
        Root of OUT.
    found : iterable of Found
        From `medprotect.scan.walk.walk`.
    rules : Rules
        By what.
    """
    there = {entry.path: entry for entry in found}
    for entry in there.values():
        yield plan_row(export, out, entry, rules, there)


def plan_row(
    export: Path | Tree, out: Path, found: Found, rules: Rules, there: Mapping[str, Found]
) -> Row:
    """Return the plan for one entry; an error of its own makes it a rejected one.

    Parameters
    ----------
    export : Path or Tree
        Root of the export.
    out : Path
        Root of OUT.
    found : Found
        The entry.
    rules : Rules
        By what.
    there : mapping of str to Found
        All entries of the export by path, among them the voxels of a header.

    Raises
    ------
    ConfigError
        The labels give it a class that its pipeline does not know.
    """
    if is_folder_marker(found):
        return Row(found, Action.LEAVE, kind=FOLDER_MARKER)
    row = Row(found, Action.REJECT)
    try:
        with patience(planning_seconds(found.size)):
            join_under(out, found.path)
            is_mask = rules.mask_names.say_of(found.path)
            finds_masks = is_mask is not False
            with open_found(export, found) as stream:
                description = formats.describe(stream, finds_masks=finds_masks)
                if description.detached is not None:
                    row = replace(row, voxels=_find_voxels(description.detached, found.path, there))
                    with open_found(export, there[row.voxels]) as voxels:
                        description = formats.describe(stream, voxels, finds_masks=finds_masks)
            if is_mask and description.role is Role.IMAGE:
                kind = f"{description.kind}, by its name a mask"
                description = Description(Role.OTHER, kind, warnings=(MASK_BY_NAME,))
            row = replace(
                row,
                kind=description.kind,
                series=description.series,
                instance=description.instance,
                traits=description.traits,
                warnings=description.warnings,
            )
            is_image = description.role is Role.IMAGE
            if is_image and row.traits is not None and row.traits.channels == 3:
                return _of_colour(row, description, out, rules)
            return _of_description(row, description, out, rules)
    except InputError as error:
        return reject(replace(row, series=row.series or error.series), error)
    except OSError as error:  # while reading: a share that went away, a bad sector
        return reject(row, UnsafePathError(f"cannot be read ({type(error).__name__})"))
    except MemoryError:
        return reject(row, ImageTooLargeError("there is too little memory to read its header"))
    except MedprotectError:
        raise
    except Exception as error:  # whatever it is, it is never worth more than its file
        return reject(row, MedprotectError(f"unexpected: {place_of(error)}; please report it"))


def is_folder_marker(found: Found) -> bool:
    """Whether an entry is an empty object by which a store names a folder."""
    return found.path.endswith("/") and not found.size  # no path of a file ends so


def _find_voxels(detached: Detached, header: str, there: Mapping[str, Found]) -> str:
    """Return the path of the file that holds a header's voxels."""
    folder, slash, name = header.rpartition("/")
    beside = folder + slash
    return beside + choose_voxels(detached, name, lambda other: beside + other in there)


def _of_colour(row: Row, description: Description, out: Path, rules: Rules) -> Row:
    """Return the plan of an image stored in colour: two, until its pixels are decoded.

    The plan for colour comes first, unless only the one for grey protects it.
    """
    colour = _attempt(row, description, out, rules, shows_grey=False)
    grey = _attempt(row, description, out, rules, shows_grey=True)
    if isinstance(grey, MedprotectError):
        if isinstance(colour, MedprotectError):
            raise colour
        return replace(colour, otherwise=_reject_as(row, grey, shows_grey=True))
    if isinstance(colour, MedprotectError):
        known = _reject_as(row, colour, shows_grey=False)
        return replace(grey, why=grey.why + _IF_GREY, otherwise=known)
    return replace(colour, otherwise=grey)


def _attempt(
    row: Row, description: Description, out: Path, rules: Rules, *, shows_grey: bool
) -> Row | InputError | ConfigError:
    """Return the plan of an image in colour if it is grey, or is not; or the error that it is."""
    traits = description.traits and replace(description.traits, shows_grey=shows_grey)
    try:
        return _of_description(
            replace(row, traits=traits), replace(description, traits=traits), out, rules
        )
    except (InputError, ConfigError) as error:
        return error


def _reject_as(row: Row, error: MedprotectError, *, shows_grey: bool) -> Row:
    if isinstance(error, ConfigError):  # its label is for the other pipeline alone
        error = NoPipelineError(str(error))
    traits = row.traits and replace(row.traits, shows_grey=shows_grey)
    return reject(replace(row, traits=traits), error)


def _of_description(row: Row, description: Description, out: Path, rules: Rules) -> Row:
    traits = description.traits
    if description.role is Role.OTHER or traits is None:
        action = Action.COPY if rules.copy_others else Action.LEAVE
        if rules.copy_others:
            _check_length(row.found.path, rules)
        return replace(row, action=action, out=row.found.path if rules.copy_others else "")
    classes = rules.labels or {}
    label = classes.get(row.found.path) or classes.get(row.voxels, "")
    choice, label = _choose(traits, label, rules)
    _check_protection(choice, rules)
    name = row.found.path + description.output_suffix
    join_under(out, name)
    _check_length(name, rules)
    return replace(
        row,
        action=Action.PROTECT,
        out=name,
        pipeline=choice.pipeline,
        why=choice.why,
        warnings=description.warnings + choice.warnings,
        label=label,
        measured=choice.measured,
    )


def _choose(traits: Traits, label: str, rules: Rules) -> tuple[Choice, str]:
    """Return the pipeline of an image, and the label that it is told.

    A label that nobody has asked to be said is not, where its pipeline does not know it, or where
    one that is told none was measured to protect more.
    """
    choice = choose_pipeline(rules.candidates, traits, rules.strength, label)
    if not label:
        return choice, ""
    if not rules.labels_asked:
        with suppress(NoPipelineError):
            untold = choose_pipeline(rules.candidates, traits, rules.strength)
            if (untold.protection or 0) > (choice.protection or 0):
                choice = untold
    error = _label_error(label, choice.pipeline, rules)
    if error and rules.labels_asked:
        raise error
    return choice, "" if error else label


def _check_length(name: str, rules: Rules) -> None:
    if rules.path_bytes is not None and len(name.encode()) > rules.path_bytes:
        raise UnsafePathError("its path is too long for OUT; shorten it, or OUT's prefix")


def _check_protection(choice: Choice, rules: Rules) -> None:
    least, protection = rules.at_least, choice.protection
    if least is None or (protection is not None and protection >= least):
        return
    if protection is None:
        known = f"was not measured on such images at strength {rules.strength}"
    else:
        known = f"is {protection:.2f} at strength {rules.strength}"
        figures = {each: found.protection for each, found in choice.at_strengths.items()}
        enough = {each: figure for each, figure in figures.items() if figure >= least}
        known += "".join(f" ({figure:.2f} at --strength {each})" for each, figure in enough.items())
    raise ProtectionTooLowError(
        f"the protection of pipeline {choice.pipeline} {known}, and --at-least asks for "
        f"{least:.2f}; a pipeline of your own may reach it (medprotect train --help)"
    )


def _label_error(label: str, pipeline: str, rules: Rules) -> ConfigError | None:
    """Return why a pipeline cannot say a label; None where it can."""
    codes = {each.card.name: each.card.codes for each in rules.candidates}[pipeline]
    if codes.source == SLOTS:
        return None
    if codes.source == "clusters":
        return ConfigError(
            f"The pipeline {pipeline} was trained without labels. Run with --labels none, or name "
            "a pipeline that was trained with these labels."
        )
    if label not in codes.classes:
        return ConfigError(
            f"The labels name a class that pipeline {pipeline} was not trained on. It knows "
            f"{', '.join(codes.classes)}."
        )
    return None


def reject(row: Row, error: MedprotectError) -> Row:
    """Return the row, rejected with the error's reason."""
    return replace(
        row, action=Action.REJECT, out="", reason=error.slug, detail=str(error), otherwise=None
    )


def reject_collisions(rows: Sequence[Row], *, ignores_case: bool) -> list[Row]:
    """Reject rows whose names in OUT would meet; a file that keeps its name comes first.

    Parameters
    ----------
    rows : sequence of Row
        The whole plan.
    ignores_case : bool
        Whether OUT lies on a file system where ``a`` and ``A`` are one name.
    """
    rejected: set[str] = set()
    named = [row for row in rows if row.out]
    for group in collisions({row.out for row in named}, ignores_case=ignores_case):
        rejected.update(group)
    by_name: dict[str, list[Row]] = {}
    for row in named:
        by_name.setdefault(row.out, []).append(row)
    error = UnsafePathError("its name in OUT would meet another's; rename one in the export")
    result = []
    for row in rows:
        meets = len(by_name.get(row.out, [])) > 1 and row.out != row.found.path
        result.append(reject(row, error) if row.out in rejected or meets else row)
    return result
