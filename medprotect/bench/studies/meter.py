"""What the noise can say on these images, before any training.

``python -m medprotect.bench.studies.meter --images SOURCE`` measures how well a linear reader of
hand-made features tells the classes from the noise alone, laid on other images, and from the
anatomy alone. Where the anatomy is the easier to read, models are likely to learn it. It takes
seconds, and trains no network: it says what can be read simply, not how soon a network reads it.

``--points FILE --data FOLDER`` measures protections whose P is recorded, and says how far the one
ranks the other.
"""

import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from medprotect.audit.attack import COUNTERMEASURES
from medprotect.audit.budgets import NONE
from medprotect.audit.halves import Labelled, draw, read_halves
from medprotect.bench import options
from medprotect.bench.protection.baselines import BASELINES
from medprotect.bench.studies.readability import swap
from medprotect.bench.studies.unlearnability import leave_out_rejected, protect
from medprotect.confounder.accuracy import balanced_accuracy
from medprotect.confounder.card import load_card
from medprotect.confounder.key import Key
from medprotect.confounder.noise import Confounder
from medprotect.errors import ConfigError
from medprotect.intensity.budget import STRENGTHS

Images = NDArray[np.uint8]
Features = NDArray[np.float64]

TRIED = ("jpeg-10", "blur-1", "half-size", "median", "posterise-2", "normalise", "grey")
"""Countermeasures after which noise and anatomy are read as well; grey only in colour."""

STRIDES, BLOCKS, FOLDS = (1, 2, 3, 4), 4, 5
"""Pixels over which differences are taken; blocks a side; parts of which each is tested once."""

SHRINKAGE = 0.05
"""Share of the diagonal in the covariance of the reader, for few images."""

_GIVEN = ("images", "protection", "labels", "strength", "P")
"""Columns of a table of points; labels are known or unknown."""

_PIXELS = 1 << 18
"""Values described at once: what stays in a processor's cache."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Balanced accuracies of the linear reader on images it was not fitted to, 0..1.

    Attributes
    ----------
    code : float
        From the noise, laid on other images.
    anatomy : float
        From the images in clear.
    """

    code: float
    anatomy: float

    @property
    def margin(self) -> float:
        """Code minus anatomy, -1..1: above 0 the noise is the easier to read."""
        return self.code - self.anatomy


@dataclass(frozen=True, slots=True)
class Readings:
    """What the meter reads.

    Attributes
    ----------
    chance : float
        One by the number of classes.
    plain : Reading
        Of the images as they are.
    after : dict of str to Reading
        After each countermeasure of `TRIED`, by its name.
    """

    chance: float
    plain: Reading
    after: dict[str, Reading]

    @property
    def worst(self) -> str:
        """The countermeasure after which the code is read worst."""
        return min(self.after, key=lambda name: self.after[name].code)


def measure(
    clean: Images, protected: Images, labels: NDArray[np.int64], *, seed: int = 0
) -> Readings:
    """Read classes from noise and from anatomy.

    Parameters
    ----------
    clean, protected : NDArray of uint8
        (N, H, W, C), C 1 or 3; H and W at least 8. A hundred a class or more.
    labels : NDArray of int64
        (N,): the classes, or the codes that the noise says. At least five images of each.
    seed : int
        Of shifts, mirroring and the five parts.

    Returns
    -------
    Readings
        Beside guessing.

    Raises
    ------
    ValueError
        Shapes differ, or a class has fewer than five images.

    Examples
    --------
    Stripes on flat noise that has no classes of its own:

    >>> import numpy as np
    >>> from medprotect.bench.studies.meter import measure
    >>> clean = np.random.default_rng(0).integers(90, 110, (200, 16, 16, 1), dtype=np.uint8)
    >>> labels = np.arange(200) % 2
    >>> stripes = 8 * (np.indices((16, 16))[:, None, ..., None] % 2).astype(np.uint8)
    >>> found = measure(clean, clean + np.concatenate(stripes)[labels], labels)
    >>> found.plain.code > 0.9, found.plain.anatomy < 0.7, found.chance
    (True, True, 0.5)
    """
    if clean.shape != protected.shape or clean.ndim != 4 or labels.shape != clean.shape[:1]:
        raise ValueError("clean and protected images are (N, H, W, C), of one shape; labels (N,)")
    _, classes = np.unique(labels, return_inverse=True)
    if np.bincount(classes).min() < FOLDS:
        raise ValueError(f"every class needs at least {FOLDS} images")
    noise, anatomy = (vary(images, seed) for images in (swap(clean, protected), clean))

    def read_both(name: str) -> Reading:
        treat = COUNTERMEASURES[name]().treat
        return Reading(*(_read(treat(images), classes, seed) for images in (noise, anatomy)))

    tried = [name for name in TRIED if name != "grey" or clean.shape[3] == 3]
    return Readings(
        chance=1 / (1 + int(classes.max())),
        plain=read_both(NONE),
        after={name: read_both(name) for name in tried},
    )


def vary(images: Images, seed: int) -> Images:
    """Return images (N, H, W, C), each shifted and mirrored at random, as victims see them."""
    rng = np.random.default_rng(seed)
    height, width = images.shape[1:3]
    reach = max(1, height // 14)
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), "edge")
    varied = np.empty_like(images)
    for index, image in enumerate(padded):
        top, left = rng.integers(0, 2 * reach + 1, 2)
        part = image[top : top + height, left : left + width]
        varied[index] = part[:, ::-1] if rng.random() < 0.5 else part
    return varied


def describe(images: Images) -> Features:
    """Return hand-made features (N, F) of images (N, H, W, C).

    Of the luminance, and in colour of red less blue and of green less their mean: logarithms of
    mean absolute differences, first and second ones, along rows, columns and diagonals, at strides
    of 1 to 4 pixels; means of 4 x 4 blocks; the logarithm of the spread.
    """
    at_once = max(1, _PIXELS // images[0].size)
    parts = [images[first : first + at_once] for first in range(0, len(images), at_once)]
    features = [[each for plane in _planes(part) for each in _describe(plane)] for part in parts]
    return np.concatenate([np.concatenate(each, 1) for each in features])


def _planes(images: Images) -> list[NDArray[np.float32]]:
    values = images.astype(np.float32)
    if images.shape[3] == 1:
        return [values[..., 0]]
    red, green, blue = np.moveaxis(values, 3, 0)
    return [0.299 * red + 0.587 * green + 0.114 * blue, red - blue, green - (red + blue) / 2]


def _describe(plane: NDArray[np.float32]) -> Iterator[Features]:
    """Yield features, each (N, some), of one plane (N, H, W)."""
    for stride in STRIDES:
        down, right = np.roll(plane, stride, 1), np.roll(plane, stride, 2)
        differences = [plane - down, plane - right, plane - down - right + np.roll(down, stride, 2)]
        for rows, columns in ((0, 1), (1, 0), (1, 1), (1, -1)):
            shift = (rows * stride, columns * stride)
            back = (-shift[0], -shift[1])
            around = np.roll(plane, shift, (1, 2)) + np.roll(plane, back, (1, 2))
            differences.append(around - 2 * plane)
        for each in differences:
            yield np.log(np.abs(each).mean((1, 2), dtype=np.float64) + 0.5)[:, None]
    strips = [strip.mean(1) for strip in np.array_split(plane, BLOCKS, 1)]
    blocks = [block.mean(1) for strip in strips for block in np.array_split(strip, BLOCKS, 1)]
    yield np.stack(blocks, 1).astype(np.float64)
    yield np.log(plane.std((1, 2), dtype=np.float64) + 1)[:, None]


def _read(images: Images, classes: NDArray[np.int64], seed: int) -> float:
    """Return the balanced accuracy of a linear discriminant, each image tested once."""
    features = describe(images)
    order = np.random.default_rng(seed).permutation(len(classes))
    order = order[np.argsort(classes[order], kind="stable")]  # dealt out class by class
    part = np.empty(len(classes), np.int64)
    part[order] = np.arange(len(classes)) % FOLDS
    guess = np.empty_like(classes)
    for fold in range(FOLDS):
        held = part == fold
        guess[held] = _discriminate(features[~held], classes[~held], features[held])
    return balanced_accuracy(guess, classes, 1 + int(classes.max()))


def _discriminate(
    features: Features, classes: NDArray[np.int64], tested: Features
) -> NDArray[np.int64]:
    """Return the classes that Fisher's linear discriminant gives, all as likely beforehand."""
    centre, spread = features.mean(0), features.std(0) + 1e-9
    features, tested = (features - centre) / spread, (tested - centre) / spread
    means = np.stack([features[classes == each].mean(0) for each in range(classes.max() + 1)])
    within = np.cov((features - means[classes]).T)
    within = (1 - SHRINKAGE) * within + SHRINKAGE * np.diag(np.diag(within) + 1e-6)
    weights = np.linalg.solve(within, means.T)
    guess: NDArray[np.int64] = (tested @ weights - (means.T * weights).sum(0) / 2).argmax(1)
    return guess


def measure_protection(
    half: Labelled, protection: str, strength: str, *, labels_known: bool = False
) -> Readings:
    """Protect images and read them.

    Parameters
    ----------
    half : Labelled
        Images that the generator has not seen.
    protection : str
        A pipeline, by name or folder, or another method: a name in `BASELINES`.
    strength : str
        A name in `STRENGTHS`; another method gets the budget that it stands for.
    labels_known : bool
        Whether the pipeline is told the labels; other methods always are.
    """
    half = leave_out_rejected(half, strength)
    if protection in BASELINES:
        method = BASELINES[protection](budget_lsb=STRENGTHS[strength])
        protected = method.protect(half, int(half.labels.max()) + 1)
    else:
        confounder = Confounder(load_card(protection), Key.new())
        labels = half.labels if labels_known else None
        protected = protect(half.images, confounder, strength, labels)
    return measure(half.images, protected, half.labels)


def rank_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return Spearman's coefficient, -1..1."""
    from scipy.stats import spearmanr

    return float(spearmanr(one, other).statistic)


def _measure_points(points: Path, data: Path, most: int) -> None:
    """Print the table again with what is measured, and Spearman's coefficients after it."""
    with points.open(newline="") as file:
        rows = list(csv.DictReader(file))
    writer = csv.writer(sys.stdout)
    writer.writerow([*_GIVEN, "code", "anatomy", "margin", "worst_code"])
    found: list[Readings] = []
    for row in rows:
        half = draw(read_halves(data / row["images"]).b, most)
        known = row["labels"] == "known"
        reading = measure_protection(half, row["protection"], row["strength"], labels_known=known)
        found.append(reading)
        plain, worst = reading.plain, reading.after[reading.worst]
        figures = (plain.code, plain.anatomy, plain.margin, worst.code)
        given = [row[column] for column in _GIVEN]
        writer.writerow([*given, *(f"{figure:.3f}" for figure in figures)])
        sys.stdout.flush()
    recorded = np.array([float(row["P"]) for row in rows])
    kinds = {
        "code less anatomy": [reading.plain.margin for reading in found],
        "code": [reading.plain.code for reading in found],
    }
    for kind, measured in kinds.items():
        coefficient = rank_correlation(np.array(measured), recorded)
        print(f"Spearman of {kind} and P: {coefficient:.2f}", file=sys.stderr)


def main(
    images: Annotated[
        Path | None, typer.Option(help="Images: a MedMNIST file (npz), or a folder.")
    ] = None,
    protection: Annotated[
        str, typer.Option(help="A pipeline, or another method, such as class-wise.")
    ] = "blood-microscopy",
    strength: options.Strength = "standard",
    labels_known: options.LabelsKnown = False,
    most: Annotated[int, typer.Option(min=1, help="Most images of half B.")] = 800,
    points: Annotated[
        Path | None, typer.Option(help="A table of protections with their P, to measure.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the images that the table names.")
    ] = None,
) -> None:
    """Say how well classes are read from the noise alone, and from the images in clear."""
    if points is not None and data is not None:
        _measure_points(points, data, most)
    elif images is not None and points is data is None:
        half = draw(read_halves(images).b, most)
        found = measure_protection(half, protection, strength, labels_known=labels_known)
        worst = {"margin": found.plain.margin, "worst": found.worst}
        print(json.dumps({**asdict(found), **worst}, indent=1))
    else:
        raise ConfigError("Give --images, or --points with --data.")


if __name__ == "__main__":
    options.run(main)
