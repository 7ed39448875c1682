"""What an audit writes as JSON, version 2. Shares are 0..1; None is what was not measured."""

from typing import NotRequired, TypedDict

SCHEMA_VERSION = 2

Interval = tuple[float, float] | list[float]
"""Lowest and highest."""


class Data(TypedDict):
    """The labelled images of the audit, and how they were parted.

    `left_out` counts images for training that are not among the protected ones.
    """

    classes: list[str]
    train: int
    left_out: int
    validation: int
    test: int
    split: str
    image_size: list[int]


class Attacker(TypedDict):
    """A model and what was done against the protection."""

    victim: str
    countermeasure: str


class WithImages(TypedDict):
    """Protection from somebody who has k clean labelled images of each class.

    ``alone`` is the accuracy that these teach by themselves; ``clean`` and ``protected`` those of
    the best attack with the k and the set; ``attack`` names it for the protected set, and is None
    where that adds nothing.
    """

    k: int
    alone: float
    clean: float
    protected: float
    attack: str | None
    protection: float | None
    interval: Interval | None


class Protection(TypedDict):
    """Protection at k: which share of what the clean set is worth the protected set lacks.

    ``plain`` is at k = 0, of the best victim without countermeasure; ``worst`` at k = 0, of the
    best under any; ``with_images`` at each k above 0 of which there were enough images.
    """

    measurable: bool
    plain: float | None
    plain_interval: Interval | None
    worst: float | None
    worst_interval: Interval | None
    worst_attacker: Attacker | None
    with_images: list[WithImages]
    decoys: str


class Accuracy(TypedDict):
    """Accuracy of a model that learned from clean images, and of guessing."""

    clean: float | None
    chance: float | None
    clean_victim: str | None


class Row(TypedDict):
    """One victim under one countermeasure; accuracies on clean test images, means over seeds.

    An attacker without a clean label takes the victim as it ends, where it did best on images of
    the set that were held out, or early, from experience, or as it ends with each class given as
    often as the set holds it (`balanced`); `attacker_best` is the best of these, and `protection`
    at k = 0 goes by it. `oracle` is the accuracy at the moment that does best on clean
    validation images, the outputs renamed if that is better: nobody who needs the set has these.
    """

    victim: str
    countermeasure: str
    clean_share: float
    seeds: list[int]
    clean_trained: float | None
    as_it_ends: float | None
    best_on_set: float | None
    stopped_early: float | None
    balanced: float | None
    attacker_best: float | None
    oracle: float | None
    protection: float | None
    interval: Interval | None


class Utility(TypedDict):
    """Accuracy of a model that learned from clean images, on clean and on protected ones."""

    clean_trained_on_clean: float | None
    clean_trained_on_protected: float | None


class Curve(TypedDict):
    """How one training went."""

    label: str
    steps: list[int]
    train_accuracy: list[float | None]
    validation_accuracy: list[float | None]


class Beside(TypedDict):
    """A figure of protected images, and of JPEG 50 of the clean ones."""

    protected: float | None
    jpeg_50: float | None


class Audit(TypedDict):
    """The whole audit."""

    schema_version: int
    medprotect: str
    date: str
    command: str
    budget: str
    data: Data
    protection: Protection
    accuracy: Accuracy
    matrix: list[Row]
    utility: Utility | None
    curves: list[Curve]
    fidelity: dict[str, Beside]
    tried: list[str]
    not_tried: list[str]
    environment: NotRequired[dict[str, str]]
