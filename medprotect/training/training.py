"""`medprotect train`: from a folder of labelled images to an owner's pipeline."""

import re
import shutil
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

from medprotect.confounder.card import CARD, Card, Codes, Images, Training, load_card
from medprotect.confounder.labels import LabelledFile, choose_training, find_table, read_table
from medprotect.confounder.weights import write_private
from medprotect.errors import ConfigError, OutputError
from medprotect.intensity.budget import STRENGTHS, name_strength
from medprotect.training.assigning import Progress
from medprotect.training.clusters import STEPS as CLUSTER_STEPS
from medprotect.training.clusters import find_clusters
from medprotect.training.curves import Curves, draw_curves
from medprotect.training.dataset import find_frames, read_frames, read_samples
from medprotect.training.export import export
from medprotect.training.gan import train
from medprotect.training.ranks import rank, wait
from medprotect.training.recipe import ASSIGNER_STEPS, SEED, STEPS, TRIES, WIDTHS, Recipe
from medprotect.training.samples import Samples
from medprotect.training.start import STEPS as START_STEPS
from medprotect.training.start import load_start

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
    half: str | None = None,
    grey: bool = False,
    size: int = TRAINING_SIZE,
    command: str = "",
    date: str = "",
    progress: Progress | None = None,
) -> Card:
    """Train a pipeline and write it to `out`; a training that broke off goes on.

    Of processes that train together the first writes; see `medprotect.training.ranks`.

    Parameters
    ----------
    images : Path
        Folder of images.
    labels_csv : Path, optional
        A table of labels, see `medprotect.confounder.labels.read_table`; else ``split.csv`` in
        `images`, where there is one. Where it names splits, ``train`` alone is learned from; where
        it names groups, none is in two of the parts that training makes. Where a ``dataset.toml``
        lies beside the table, or beside the folder, the card takes data, licence and attribution
        from it.
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
        Of the generator; `STEPS`, or `medprotect.training.start.STEPS` of one that is begun from.
    seed : int
        Of all that is drawn.
    tries : int
        Generators begun; the best of them is trained to its end.
    decoys : bool
        Whether a wrong class is shown to models trained on clean images.
    strength : str, optional
        That it is trained for, one of `medprotect.intensity.budget.STRENGTHS`; that of one begun
        from, or ``standard``. It can be given at others, too, and protects less there.
    half : str, optional
        ``a`` or ``b``, to learn from that half of what is for training alone; see
        `medprotect.confounder.labels.part_in_halves`.
    grey : bool
        Whether colour images are read as grey ones; the pipeline is then for grey images alone.
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
    source = Source(images, find_table(images, labels_csv), size, strength, half, grey)
    samples, seen = source.read(clusters, steps, seed, checkpoints, progress)
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
    half: str | None
    grey: bool

    def read(
        self, clusters: int | None, steps: int, seed: int, checkpoints: Path, progress: Progress
    ) -> tuple[Samples, frozenset[str]]:
        """Return the images with labels or clusters, and the modalities seen."""
        if clusters is None:
            return self.labelled(progress)
        search = min(CLUSTER_STEPS, steps)
        return self.clustered(clusters, search, seed, checkpoints, progress)

    def labelled(self, progress: Progress) -> tuple[Samples, frozenset[str]]:
        """Return the images with their labels, and the modalities seen."""
        if self.labels_csv is None:
            raise ConfigError("Without a table of labels, clusters must be asked for.")
        rows = self._rows(self.labels_csv, progress)
        return read_samples(self.images, rows, self.size, self.strength, progress, grey=self.grey)

    def clustered(
        self, clusters: int, steps: int, seed: int, checkpoints: Path, progress: Progress
    ) -> tuple[Samples, frozenset[str]]:
        """Return the images with clusters, found in so many steps, and the modalities seen."""
        groups = None
        if self.labels_csv is None:
            if self.half is not None:
                raise ConfigError("Halves need a table of labels with the columns split and group.")
            frames, others = find_frames(
                self.images, self.size, self.strength, progress, grey=self.grey
            )
            count = len(frames.presented)
            progress("images found", count, count, {"other files": others})
        else:
            rows = self._rows(self.labels_csv, progress)
            frames = read_frames(
                self.images, rows, self.size, self.strength, progress, grey=self.grey
            )
            groups = frames.groups_of(rows)
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
        return Samples(frames.presented, frames.budget, found, names, groups), frames.modalities

    def _rows(self, labels_csv: Path, progress: Progress) -> list[LabelledFile]:
        """Return the lines of the table to learn from, and tell how many others there are."""
        rows = read_table(labels_csv)
        chosen = choose_training(rows, self.half)
        if len(chosen) < len(rows):
            others = len(rows) - len(chosen)
            progress("images to learn from", len(chosen), len(chosen), {"not learned from": others})
        return chosen

    def data(self) -> Training:
        """Return what a data set's card says, where one lies beside the labels or the folder."""
        places = [each.parent / "dataset.toml" for each in (self.labels_csv, self.images) if each]
        place = next((each for each in places if each.exists()), None)
        if place is None:
            return Training()
        try:
            content = tomllib.loads(place.read_text("utf-8"))
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
