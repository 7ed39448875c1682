"""What the bench protects images with: medprotect and other methods, each made once and kept."""

import hashlib
import json
import time
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprotect.audit.fidelity import fidelity
from medprotect.audit.halves import Labelled
from medprotect.bench.protection.baselines import BASELINES
from medprotect.bench.protection.data import BenchData
from medprotect.bench.protection.record import Protected, name_file, protection_folder
from medprotect.bench.studies.unlearnability import protect
from medprotect.confounder.card import SLOTS, Card, load_card
from medprotect.confounder.key import Key
from medprotect.confounder.noise import Confounder
from medprotect.errors import ConfigError
from medprotect.imaging.image import Traits
from medprotect.intensity.budget import STRENGTHS
from medprotect.plan.selection import AUTO, choose_pipeline, find_candidates
from medprotect.protect.atomic import write_whole

Images = NDArray[np.uint8]

OURS = {"ours": False, "ours-labels": True}
"""medprotect, and whether it is told the labels; all others are."""

PROTECTIONS = (*OURS, *BASELINES)

KEY = Key(hashlib.sha256(b"medprotect bench").digest())
"""Known to everybody, so that everybody gets the same noise; no owner's key is needed."""


@dataclass(frozen=True, slots=True)
class Protection:
    """A way to protect.

    Attributes
    ----------
    settings : dict
        Its name, and all that its images depend on.
    protect : callable
        Training images and the number of classes to protected images.
    """

    settings: dict[str, Any]
    protect: Callable[[Labelled, int], Images]

    @property
    def name(self) -> str:
        """Word for it in commands and tables."""
        return str(self.settings["name"])


CLEAN = Protection({"name": "clean"}, lambda train, _: train.images)
"""None at all."""

NO_SET = Protection({"name": "no set"}, lambda train, _: train.images[:0])
"""No images to learn from but the few clean ones that an attacker has."""


def find_protection(
    name: str, strength: str, pipeline: str, data: BenchData, *, budget_lsb: int | None = None
) -> Protection:
    """Return a protection by name.

    Parameters
    ----------
    name : str
        One of `PROTECTIONS`.
    strength : str
        The budget of each.
    pipeline : str
        With which ours is made: a name, a folder, or ``auto`` for the one that a run picks for
        such images as PNG.
    budget_lsb : int, optional
        The budget of all but ours, where it is not that of the strength: so all can be compared at
        one PSNR.

    Raises
    ------
    ConfigError
        The pipeline cannot be told these labels.
    PipelineError
        There is none.
    """
    if name not in OURS:
        other = BASELINES[name](budget_lsb=budget_lsb or STRENGTHS[strength])
        return Protection({"name": name, "strength": strength, **asdict(other)}, other.protect)
    labels_known = OURS[name]
    card = _find_card(pipeline, data, labels_known=labels_known)
    says_any = card.codes.source == SLOTS
    if labels_known and not says_any and len(data.classes) > len(card.codes.classes):
        raise ConfigError(
            f"The pipeline {card.name} tells {len(card.codes.classes)} classes apart, the data set "
            f"has {len(data.classes)}: leave {name} out, or train a pipeline on half A and name it."
        )
    settings = {
        "name": name,
        "strength": strength,
        "pipeline": card.name,
        "pipeline_sha256": card.pipeline_sha256,
        "key": KEY.fingerprint,
    }

    def make(train: Labelled, _: int) -> Images:
        labels = train.labels if labels_known else None
        classes = len(data.classes) if says_any else None
        return protect(train.images, Confounder(card, KEY, classes=classes), strength, labels)

    return Protection(settings, make)


def _find_card(pipeline: str, data: BenchData, *, labels_known: bool) -> Card:
    if pipeline != AUTO:
        return load_card(pipeline)
    channels = data.train.images.shape[3]
    photometric = "RGB" if channels == 3 else "MONOCHROME2"
    traits = Traits("png", photometric=photometric, channels=channels)
    label = data.classes[0] if labels_known else ""
    return load_card(choose_pipeline(find_candidates([AUTO]), traits, label=label).pipeline)


@dataclass(frozen=True, slots=True)
class Made:
    """Protected images, and how they were made; nothing of that for clean ones, or for none."""

    images: Images | None
    protected: Protected | None = None


def make_once(
    protection: Protection, data: BenchData, out: Path, say: Callable[[str], None]
) -> Made:
    """Return protected training images: those kept below `out`, else made now and kept there."""
    if protection is NO_SET:
        return Made(None)
    if protection is CLEAN:
        return Made(data.train.images)
    settings = {"data": data.settings(), "protection": protection.settings}
    path = protection_folder(out, settings) / name_file("protected", settings, ".npz")
    kept = _read(path, data.train.images.shape)
    if kept is not None:
        return kept
    say(f"{protection.name}: protecting {len(data.train)} images")
    began = time.perf_counter()
    images = protection.protect(data.train, len(data.classes))
    seconds = round(time.perf_counter() - began, 1)
    made = Made(images, {"seconds": seconds, "fidelity": fidelity(data.train.images, images)})
    stream = BytesIO()
    np.savez(stream, images=images, protected=np.array(json.dumps(made.protected)))
    write_whole(path, stream.getvalue())
    return made


def _read(path: Path, shape: tuple[int, ...]) -> Made | None:
    try:
        with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            made = Made(arrays["images"], json.loads(arrays["protected"].item()))
    except (OSError, EOFError, ValueError, LookupError, TypeError, zipfile.BadZipFile):
        return None
    return made if made.images is not None and made.images.shape == shape else None
