"""`medprotect train`: make an owner's pipeline."""

import datetime
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from medprotect.cli.ending import ending

LabelsFile = Annotated[
    Path | None,
    typer.Option(
        help="A table with columns file, label; split and group (or patient) where known. Files "
        "relative to IMAGES. Of several splits, train alone is learned from.",
        show_default="IMAGES/split.csv, where there is one",
    ),
]
Half = Annotated[
    str | None,
    typer.Option(
        metavar="a|b",
        help="Learn from one half of split train alone, to measure on the other. No group is in "
        "both.",
    ),
]
Grey = Annotated[
    bool,
    typer.Option("--grey", help="Read colour images as grey; the pipeline is for grey images."),
]
Codes = Annotated[
    str,
    typer.Option(
        metavar="labels|clusters", help="What the noise tells: the labels, or what is alike."
    ),
]
Clusters = Annotated[
    int | None, typer.Option(min=2, help="How many kinds to tell apart without labels.")
]
Start = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="PIPELINE", help="Begin from a shipped pipeline or a folder: minutes."
    ),
]
Decoys = Annotated[
    str, typer.Option(metavar="on|off", help="Mislead models trained on clean images too.")
]
Strength = Annotated[
    str | None,
    typer.Option(
        metavar="low|standard|high",
        help="That it is to be given at; else that of PIPELINE, or standard.",
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Steps of a generator. The classifiers of clean images take twice as many, 1200 at "
        "most.",
        show_default="600, with --from 300",
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(help="Same seed and images, same pipeline; else 1, or with --from the key's."),
]
Tries = Annotated[
    int | None,
    typer.Option(
        min=1, show_default="3", help="Generators begun; the one that protects best is finished."
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(help="The owner's key, for --from; else one in your configuration folder."),
]


def train(
    images: Annotated[Path, typer.Argument(help="Folder of images.")],
    out: Annotated[Path, typer.Option(help="Folder of the new pipeline, named as it will be.")],
    modality: Annotated[
        str, typer.Option(help="DICOM Modality that it is for, or several with commas between.")
    ],
    labels: LabelsFile = None,
    half: Half = None,
    grey: Grey = False,
    codes: Codes = "labels",
    clusters: Clusters = None,
    start: Start = None,
    decoys: Decoys = "off",
    strength: Strength = None,
    steps: Steps = None,
    seed: Seed = None,
    tries: Tries = None,
    key: KeyFile = None,
    size: Annotated[int, typer.Option(min=8, help="Pixels of the long side to train at.")] = 64,
) -> None:
    """Train a pipeline on your own images; one that was stopped goes on when started again.

    With 600 images of 28 x 28 on two idle cores it takes about 12 minutes, with `--from` 7. Fewer
    `--steps` shorten all stages.

    What is shipped is public. `--from PIPELINE` makes of it, in minutes, one that is yours: it
    learns on with textures and codes that your key draws.

    Without labels, `--codes clusters` finds by itself what is alike among the images; of a table
    of labels it takes files, splits and groups alone.

    Weights, checkpoints and labels are secrets like the key: keep them in the house.
    """
    with ending():
        _check(images, labels, codes, clusters, decoys)
        from medprotect.cli.progress_view import WorkView

        with WorkView("this stage") as view:
            view.load()
            from medprotect.confounder.card import load_card
            from medprotect.training.clusters import CLUSTERS
            from medprotect.training.recipe import SEED, TRIES
            from medprotect.training.training import train_pipeline

            tries = tries or TRIES
            view.say(_name_stages(tries, clustered=codes == "clusters"))
            if seed is None:
                seed = SEED if start is None else _drawn_by(key)
            card = train_pipeline(
                images,
                labels,
                out,
                modality=modality,
                clusters=(clusters or CLUSTERS) if codes == "clusters" else None,
                start=None if start is None else load_card(start),
                steps=steps,
                seed=seed,
                tries=tries,
                decoys=decoys == "on",
                strength=strength,
                half=half,
                grey=grey,
                size=size,
                command=_write_command(sys.argv[1:]),
                date=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
                progress=view,
            )
        print(f"pipeline {card.name} in {out}; use it: medprotect run EXPORT OUT --pipeline {out}")
        if card.codes.decoys:
            print("it has decoys: protected images are not for AI-assisted diagnosis")


def _check(
    images: Path, labels: Path | None, codes: str, clusters: int | None, decoys: str
) -> None:
    from medprotect.confounder.labels import find_table
    from medprotect.errors import ConfigError

    if decoys not in ("on", "off"):
        raise ConfigError("--decoys is on or off.")
    if codes not in ("labels", "clusters"):
        raise ConfigError("--codes is labels or clusters.")
    if codes == "labels" and find_table(images, labels) is None:
        raise ConfigError(
            "Name a table of --labels, or put one into IMAGES as split.csv, or ask for --codes "
            "clusters, without any."
        )
    if codes == "labels" and clusters is not None:
        raise ConfigError("--clusters goes with --codes clusters.")


def _name_stages(tries: int, *, clustered: bool) -> str:
    """Return what a training is made of, before it begins."""
    stages = [
        "reading images",
        *(["finding clusters"] if clustered else []),
        "two classifiers of clean images",
        *([f"{tries} generators begun, each tried by victims"] if tries > 1 else []),
        "the best generator finished" if tries > 1 else "one generator",
    ]
    return "stages: " + "; ".join(stages)


def _drawn_by(path: Path | None) -> int:
    """Return the seed that the owner's key draws; a key that is not there is made."""
    from medprotect.confounder.key import Key, default_key_path

    place = path or default_key_path()
    if path is None and not place.exists():
        Key.new().save(place)
        print(f"key: made {place}; it is a secret: keep it, and a copy", file=sys.stderr)
    return int.from_bytes(Key.load(place).subkey("training")[:6])


def _write_command(arguments: Sequence[str]) -> str:
    """Write the command for the card, which may leave the house: of whole paths the last part."""
    options = (each.partition("=") for each in arguments)
    words = [
        name + equals + _last(value) if equals else _last(name) for name, equals, value in options
    ]
    return shlex.join(["medprotect", *words])


def _last(word: str) -> str:
    return Path(word).name if Path(word).is_absolute() else word
