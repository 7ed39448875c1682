"""`medprotect train`: from a folder of labelled images to an owner's pipeline."""

import shutil
from dataclasses import replace
from pathlib import Path

from medprotect.confounder.assigning import Progress
from medprotect.confounder.card import CARD, Card, Images, Training
from medprotect.confounder.dataset import read_samples
from medprotect.confounder.export import export
from medprotect.confounder.gan import SEED, STEPS, Recipe, train
from medprotect.confounder.samples import Samples
from medprotect.errors import ConfigError, OutputError

GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
TRAINING_SIZE = 64
"""Pixels of the long side that the networks are trained at."""


def train_pipeline(
    images: Path,
    labels_csv: Path,
    out: Path,
    *,
    modality: str,
    name: str = "",
    steps: int = STEPS,
    seed: int = SEED,
    decoys: bool = True,
    size: int = TRAINING_SIZE,
    description: Training | None = None,
    date: str = "",
    progress: Progress | None = None,
) -> Card:
    """Train a pipeline and write it to `out`; a training that broke off goes on.

    Parameters
    ----------
    images, labels_csv : Path
        See `medprotect.confounder.dataset.read_samples`.
    out : Path
        Folder of the pipeline; ``out/checkpoints`` exists until the training is done.
    modality : str
        DICOM Modality that the pipeline is for. It also takes images that state none.
    name : str, optional
        Of the pipeline; else made of the modality.
    steps, seed : int
        Of the generator.
    decoys : bool
        Whether a wrong class is shown to models trained on clean images.
    size : int
        Pixels of the long side to train at; the noise is made at up to twice as many.
    description : Training, optional
        For the card: data, licence, attribution, command.
    date : str
        For the card, ISO 8601.
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
    if (out / CARD).exists():
        raise OutputError("The folder holds a pipeline already. Name another: none is overwritten.")
    if steps < 1 or size < 8:
        raise ConfigError("There must be at least 1 step, and 8 pixels.")
    samples = read_samples(images, labels_csv, size)
    colour = samples.channels == 3
    # Colour pictures (microscopy, skin, endoscopy) have no left and right; bodies have.
    recipe = Recipe(steps=steps, seed=seed, decoys=decoys, mirrored=colour)
    checkpoints = out / "checkpoints"
    trained = train(samples, recipe, folder=checkpoints, progress=progress)
    card = export(
        trained,
        recipe,
        out,
        name=name or f"{modality or 'images'}-{'colour' if colour else 'grey'}".lower(),
        title=f"{modality or 'Images'} in {'colour' if colour else 'grey'}",
        images=_images(modality, samples),
        classes=samples.classes,
        training=replace(
            description or Training(), images=len(samples), steps=steps, seed=seed, date=date
        ),
    )
    shutil.rmtree(checkpoints)
    return card


def _images(modality: str, samples: Samples) -> Images:
    return Images(
        modalities=tuple(dict.fromkeys((modality, ""))),
        photometrics=COLOUR if samples.channels == 3 else GREY,
        channels=samples.channels,
        canonical_size=2 * samples.size,
        assigner_size=samples.size,
    )
