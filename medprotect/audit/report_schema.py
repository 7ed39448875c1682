"""What an audit writes as JSON, version 1. Shares are 0..1; None is what was not measured."""

from typing import NotRequired, TypedDict

SCHEMA_VERSION = 1

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


class Protection(TypedDict):
    """P: the share of what clean images teach beyond guessing that protected ones do not."""

    measurable: bool
    plain: float | None
    plain_interval: Interval | None
    worst: float | None
    worst_interval: Interval | None
    worst_attacker: Attacker | None
    decoys: str


class Accuracy(TypedDict):
    """Accuracy of a model that learned from clean images, and of guessing."""

    clean: float | None
    chance: float | None
    clean_victim: str | None


class Row(TypedDict):
    """One victim under one countermeasure; accuracies on clean test images, means over seeds.

    ``attacker_best`` is of the victim as it is, renamed, or stopped early.
    """

    victim: str
    countermeasure: str
    clean_share: float
    seeds: list[int]
    clean_trained: float | None
    as_is: float | None
    renamed: float | None
    attacker_best: float | None
    P: float | None
    P_interval: Interval | None


class Probe(TypedDict):
    """Accuracy of a linear reader on features learned from protected images, and untrained."""

    images_per_class: int
    protected_features: float | None
    untrained_features: float | None
    gain: float | None


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
    probe: Probe | None
    utility: Utility | None
    curves: list[Curve]
    fidelity: dict[str, Beside]
    tried: list[str]
    not_tried: list[str]
    environment: NotRequired[dict[str, str]]
