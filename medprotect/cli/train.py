"""`medprotect train`: make an owner's pipeline."""

import datetime
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from medprotect.cli.ending import ending


def train(
    images: Annotated[Path, typer.Argument(help="Folder of images.")],
    out: Annotated[Path, typer.Option(help="Folder of the new pipeline, named as it will be.")],
    modality: Annotated[
        str, typer.Option(help="DICOM Modality that it is for, or several with commas between.")
    ],
    labels: Annotated[
        Path | None,
        typer.Option(help="A table with columns file, label; files relative to IMAGES."),
    ] = None,
    codes: Annotated[
        str,
        typer.Option(
            metavar="labels|clusters", help="What the noise tells: the labels, or what is alike."
        ),
    ] = "labels",
    clusters: Annotated[
        int | None, typer.Option(min=2, help="How many kinds to tell apart without labels.")
    ] = None,
    decoys: Annotated[
        str, typer.Option(metavar="on|off", help="Mislead models trained on clean images too.")
    ] = "off",
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of the generator.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed and images, same pipeline.")] = 1,
    size: Annotated[int, typer.Option(min=8, help="Pixels of the long side to train at.")] = 64,
) -> None:
    """Train a pipeline on your own images; one that was stopped goes on from its last checkpoint.

    Without labels, `--codes clusters` finds by itself what is alike among the images; of a table
    of labels it takes the files alone.

    Weights, checkpoints and labels are secrets like the key: keep them in the house.
    """
    with ending():
        from medprotect.errors import ConfigError

        _check(labels, codes, clusters)
        if decoys not in ("on", "off"):
            raise ConfigError("--decoys is on or off.")
        print("loading", file=sys.stderr, flush=True)
        from medprotect.confounder.clusters import CLUSTERS
        from medprotect.confounder.gan import STEPS
        from medprotect.confounder.training import train_pipeline

        card = train_pipeline(
            images,
            labels,
            out,
            modality=modality,
            clusters=(clusters or CLUSTERS) if codes == "clusters" else None,
            steps=steps or STEPS,
            seed=seed,
            decoys=decoys == "on",
            size=size,
            command=shlex.join(["medprotect", *sys.argv[1:]]),
            date=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
            progress=_show,
        )
        print(f"pipeline {card.name} in {out}; use it: medprotect run EXPORT OUT --pipeline {out}")
        if card.codes.decoys:
            print("it has decoys: protected images are not for AI-assisted diagnosis")


def _check(labels: Path | None, codes: str, clusters: int | None) -> None:
    from medprotect.errors import ConfigError

    if codes not in ("labels", "clusters"):
        raise ConfigError("--codes is labels or clusters.")
    if codes == "labels" and labels is None:
        raise ConfigError("Name a table of --labels, or ask for --codes clusters, without any.")
    if codes == "labels" and clusters is not None:
        raise ConfigError("--clusters goes with --codes clusters.")


def _show(stage: str, step: int, steps: int, figures: dict[str, float]) -> None:
    shown = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
    print(f"{stage} {step}/{steps}  {shown}", file=sys.stderr, flush=True)
