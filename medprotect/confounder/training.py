"""`medprotect train`: from a folder of labelled images to an owner's pipeline."""

import re
import shutil
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

from medprotect.confounder.assigning import Progress
from medprotect.confounder.card import CARD, Card, Codes, Images, Training, load_card
from medprotect.confounder.checkpoint import write_private
from medprotect.confounder.clusters import STEPS as CLUSTER_STEPS
from medprotect.confounder.clusters import find_clusters
from medprotect.confounder.curves import Curves, draw_curves
from medprotect.confounder.dataset import find_frames, read_frames, read_samples
from medprotect.confounder.export import export
from medprotect.confounder.gan import train
from medprotect.confounder.labels import read_labels
from medprotect.confounder.ranks import rank, wait
from medprotect.confounder.recipe import ASSIGNER_STEPS, SEED, STEPS, TRIES, WIDTHS, Recipe
from medprotect.confounder.samples import Samples
from medprotect.confounder.start import STEPS as START_STEPS
from medprotect.confounder.start import load_start
from medprotect.errors import ConfigError, OutputError
from medprotect.intensity.budget import STRENGTHS, name_strength

GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
CURVES = "docs/curves.svg"
TRAINING_SIZE = 64
"""Pixels of the long side that the networks are trained at."""


def train_pipeline(
    images: Path,
    labels_csv: Path | None,
    out: Path,
    *,
    modality: str,
    clusters: int | None = None,
    start: Card | None = None,
    steps: int | None = None,
    seed: int = SEED,
    tries: int = TRIES,
    decoys: bool = False,
    strength: str | None = None,
    size: int = TRAINING_SIZE,
    command: str = "",
    date: str = "",
    progress: Progress | None = None,
) -> Card:
    """Train a pipeline and write it to `out`; a training that broke off goes on.

    Of processes that train together the first writes; see `medprotect.confounder.ranks`.

    Parameters
    ----------
    images : Path
        Folder of images.
    labels_csv : Path, optional
        See `medprotect.confounder.dataset.read_samples`. Where a ``dataset.toml`` lies beside the
        labels, or beside the folder, the card takes data, licence and attribution from it.
    out : Path
        Folder of the pipeline, named as the pipeline is to be; ``out/checkpoints`` exists until
        the training is done.
    modality : str
        DICOM Modality that the pipeline is for, or several with commas between. It also takes
        images that state none. Those not seen in training are experimental.
    clusters : int, optional
        How many to find, as codes: labels are not looked at then, and of a table only the files
        are taken. Without a table all images of the folder are.
    start : Card, optional
        The pipeline to begin from, a shipped one or one's own.
    steps : int, optional
        Of the generator; `STEPS`, or `medprotect.confounder.start.STEPS` of one that is begun from.
    seed : int
        Of all that is drawn.
    tries : int
        Generators begun; the best of them is trained to its end.
    decoys : bool
        Whether a wrong class is shown to models trained on clean images.
    strength : str, optional
        That it is trained for, one of `medprotect.intensity.budget.STRENGTHS`; that of one begun
        from, or ``standard``. It can be given at others, too, and protects less there.
    size : int
        Pixels of the long side to train at; the noise is made at up to twice as many.
    command, date : str
        For the card: how it was made, and when (ISO 8601).
    progress : callable, optional
        ``progress(stage, step, steps, figures)``.

    Raises
    ------
    ConfigError
        The images or labels cannot be trained on.
    OutputError
        `out` holds a finished pipeline.
    PipelineError
        The noise collapsed.
    """
    steps, strength = _as_begun(start, steps, strength)
    _refuse(out, steps, tries, size, strength)
    checkpoints = out / "checkpoints"
    curves = Curves(checkpoints)
    progress = curves.following(progress or (lambda *_: None))
    source = Source(images, labels_csv, size, strength)
    if clusters is None:
        samples, seen = source.labelled(progress)
    else:
        search = min(CLUSTER_STEPS, steps)
        samples, seen = source.clustered(clusters, search, seed, checkpoints, progress)
    recipe = Recipe(
        steps=steps,
        assigner_steps=min(ASSIGNER_STEPS, 2 * steps),
        seed=seed,
        tries=tries,
        decoys=decoys,
        mirrored=_mirrored(samples.channels),
        strength=strength,
        widths=WIDTHS if start is None else start.widths,
    )
    begun = None if start is None else load_start(start, samples.channels)
    trained = train(samples, recipe, start=begun, folder=checkpoints, progress=progress)
    if rank() != 0:
        wait()
        return load_card(out)
    name = re.sub("[^a-z0-9]+", "-", out.resolve().name.lower()).strip("-") or "pipeline"
    made = replace(source.data(), images=len(samples), command=command, date=date)
    card = export(
        trained,
        recipe,
        out,
        name=name,
        title=f"{name}: {modality or 'images'}, trained on {made.data or 'own images'}",
        images=_images(modality, samples, seen),
        codes=Codes(classes=samples.classes, source="labels" if clusters is None else "clusters"),
        training=made,
    )
    write_private(out / CURVES, draw_curves(curves.rows, trained.stage).encode())
    shutil.rmtree(checkpoints)
    wait()
    return card


def _as_begun(start: Card | None, steps: int | None, strength: str | None) -> tuple[int, str]:
    """Return steps and strength; where nothing is said, as it is begun anew or from a pipeline."""
    usual = (STEPS, "standard")
    if start is not None:
        usual = (START_STEPS, name_strength(start.training.strength))
    return usual[0] if steps is None else steps, usual[1] if strength is None else strength


def _refuse(out: Path, steps: int, tries: int, size: int, strength: str) -> None:
    if (out / CARD).exists():
        raise OutputError(
            "The folder already holds a pipeline. It is never overwritten: name another folder."
        )
    if steps < 1 or tries < 1 or size < 8:
        raise ConfigError("There must be at least 1 step, 1 try, and 8 pixels.")
    if strength not in STRENGTHS:
        raise ConfigError(f"Strength is one of {', '.join(STRENGTHS)}.")


@dataclass(frozen=True, slots=True)
class Source:
    """What a pipeline is trained on; see `train_pipeline`."""

    images: Path
    labels_csv: Path | None
    size: int
    strength: str

    def labelled(self, progress: Progress) -> tuple[Samples, frozenset[str]]:
        """Return the images with their labels, and the modalities seen."""
        if self.labels_csv is None:
            raise ConfigError("Without a table of labels, clusters must be asked for.")
        return read_samples(self.images, self.labels_csv, self.size, self.strength, progress)

    def clustered(
        self, clusters: int, steps: int, seed: int, checkpoints: Path, progress: Progress
    ) -> tuple[Samples, frozenset[str]]:
        """Return the images with clusters, found in so many steps, and the modalities seen."""
        if self.labels_csv is None:
            frames, others = find_frames(self.images, self.size, self.strength, progress)
            count = len(frames.presented)
            progress("images found", count, count, {"other files": others})
        else:
            files = list(read_labels(self.labels_csv))
            frames = read_frames(self.images, files, self.size, self.strength, progress)
        found = find_clusters(
            frames.presented,
            clusters,
            seed=seed,
            steps=steps,
            mirrored=_mirrored(frames.presented.shape[1]),
            folder=checkpoints,
            progress=progress,
        )
        names = tuple(f"cluster {number:02d}" for number in range(1, clusters + 1))
        return Samples(frames.presented, frames.budget, found, names), frames.modalities

    def data(self) -> Training:
        """Return what a data set's card says, where one lies beside the labels or the folder."""
        beside = (self.labels_csv or self.images).parent
        try:
            content = tomllib.loads((beside / "dataset.toml").read_text("utf-8"))
        except FileNotFoundError:
            return Training()
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
            raise ConfigError("The dataset.toml beside the labels cannot be read.") from None
        return Training(
            data=str(content.get("name", "")),
            licence=str(content.get("licence", "")),
            attribution=str(content.get("attribution", "")),
        )


def _mirrored(channels: int) -> bool:
    """Colour pictures (microscopy, skin, endoscopy) have no left and right; bodies have."""
    return channels == 3


def _images(modality: str, samples: Samples, seen: frozenset[str]) -> Images:
    named = [each.strip().upper() for each in modality.split(",")]
    modalities = tuple(dict.fromkeys((*named, "")))
    return Images(
        modalities=modalities,
        photometrics=COLOUR if samples.channels == 3 else GREY,
        experimental=tuple(each for each in modalities if each not in seen),
        channels=samples.channels,
        canonical_size=2 * samples.size,
        assigner_size=samples.size,
    )
