"""Cards: what a pipeline is for, how it was made, and which weights belong to it.

A pipeline is a folder ``<name>/{card.toml, models/generator.safetensors, docs/README.md}``, shipped
with medprotect or made by `medprotect train`. Reading a card loads no network.
"""

import difflib
import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from medprotect.errors import PipelineError

FORMAT = 1
CARD = "card.toml"
WEIGHTS = "models/generator.safetensors"
SLOTS = "slots"
SOURCES = ("labels", "clusters", SLOTS)
UNET, GRAIN = CARRIERS = ("unet", "grain")
GAIN = 2.0
"""Spread of the noise before `tanh` bounds it, in training; with more of it nothing is learnt."""

_LARGEST_CARD = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Which images a pipeline protects.

    Attributes
    ----------
    modalities : tuple of str
        DICOM Modality (0008,0060); "" stands for files that state none (PNG, TIFF, JPEG, NIfTI).
    photometrics : tuple of str
        Photometric Interpretation (0028,0004).
    body_parts : tuple of str
        Body Part Examined (0018,0015); empty for any.
    experimental : tuple of str
        Those of `modalities` on which the pipeline was never tested.
    channels : int
        Samples per pixel that the networks see, 1 or 3.
    canonical_size : int
        Pixels of the long side at which the noise is made; smaller images keep their own size.
    assigner_size : int
        Pixels of the long side at which the assigner reads an image.
    """

    modalities: tuple[str, ...]
    photometrics: tuple[str, ...]
    body_parts: tuple[str, ...] = ()
    experimental: tuple[str, ...] = ()
    channels: int
    canonical_size: int
    assigner_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """What the noise says.

    Attributes
    ----------
    classes : tuple of str
        Names of the classes, one code each, in the order of the labels.
    source : str
        ``labels`` of people, or ``clusters`` that were found without any; or ``slots``, that stand
        for any classes.
    decoys : bool
        Whether the noise shows a wrong class to models trained on clean images.
    temperature : float
        Divides the assigner's logits, so that its posterior is calibrated.
    """

    classes: tuple[str, ...]
    source: str = "labels"
    decoys: bool = True
    temperature: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Widths:
    """Channels of the first level of each network in the weights file."""

    generator: int
    assigner: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How the noise is given.

    Attributes
    ----------
    gain : float
        Spread of the noise before it is bounded: the greater, the nearer is all of it to the bound.
    carrier : str
        ``unet``: a trained generator makes it. ``grain``: it is grain whose spectrum says the code;
        see `medprotect.confounder.grain`.
    stronger, weaker : float
        Of grain: what the image's own texture grows by in the bands of its class, and what it loses
        in those of the others, as shares of it.
    """

    gain: float = GAIN
    carrier: str = UNET
    stronger: float = 0.0
    weaker: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How the weights came to be.

    Attributes
    ----------
    data, licence, attribution : str
        Name, licence and origin of the images.
    images : int
        How many were seen.
    strength : float
        Bound on the noise in presented values, of the range 0..1.
    steps, seed : int
        Of the generator.
    tries : int
        Generators begun, of which it is the best.
    command, date : str
        Command that makes the pipeline again; date of this one, ISO 8601.
    """

    data: str = ""
    licence: str = ""
    attribution: str = ""
    images: int = 0
    strength: float = 8 / 255
    steps: int = 0
    seed: int = 0
    tries: int = 1
    command: str = ""
    date: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The weights file, relative to the card, and its SHA-256 in hex."""

    file: str = WEIGHTS
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A pipeline's card.

    Attributes
    ----------
    name, title, version : str
        Name as on the command line, a line of text, and the pipeline's own version.
    images, codes, widths, training, weights, noise
        The tables of the card; that of the noise may be missing.
    figures : mapping of str to float
        Measured results, named in the pipeline's README.
    sha256 : str
        Of the card's bytes; "" for a card that was not read from a file.
    folder : Path
        Where the card lies.
    """

    name: str
    title: str
    version: str
    images: Images
    codes: Codes
    widths: Widths
    training: Training
    weights: Weights
    noise: Noise = field(default_factory=Noise)
    figures: Mapping[str, float] = field(default_factory=dict)
    sha256: str = ""
    folder: Path = Path()

    @property
    def pipeline_sha256(self) -> str:
        """SHA-256 in hex of card and weights together: the identity of what makes the noise.

        The card's bytes hold the hash of the weights, and weights that differ are never loaded.
        """
        return hashlib.sha256(f"medprotect pipeline {FORMAT} {self.sha256}".encode()).hexdigest()

    @property
    def weights_path(self) -> Path:
        """The weights file."""
        return self.folder / self.weights.file


_TABLES: dict[str, type[Any]] = {
    "images": Images,
    "codes": Codes,
    "widths": Widths,
    "noise": Noise,
    "training": Training,
    "weights": Weights,
}
_TEXTS = ("name", "title", "version")


def shipped_cards() -> list[Card]:
    """Return the cards of the pipelines that come with medprotect, by name."""
    root = Path(str(files("medprotect.pipelines")))
    return [load_card(path.parent) for path in sorted(root.glob(f"*/{CARD}"))]


def load_card(pipeline: str | Path) -> Card:
    """Read the card of a pipeline.

    Parameters
    ----------
    pipeline : str or Path
        Name of a shipped pipeline, or the folder of one.

    Raises
    ------
    PipelineError
        There is no such pipeline, or its card is not one.
    """
    folder = _shipped_folder(pipeline) if isinstance(pipeline, str) else pipeline
    if folder is None:
        folder = Path(pipeline)
    path = folder / CARD
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST_CARD + 1)
    except OSError:
        names = ", ".join(card.name for card in shipped_cards())
        raise PipelineError(
            f"There is no pipeline {str(pipeline)!r}. Shipped: {names or 'none'}. Or name a folder "
            f"that holds a {CARD}."
        ) from None
    if len(data) > _LARGEST_CARD:
        raise PipelineError(f"{path} is larger than a card can be.")
    return parse_card(data, folder)


def parse_card(data: bytes, folder: Path) -> Card:
    """Read a card from the bytes of its TOML file.

    Raises
    ------
    PipelineError
        Not TOML, an unknown or missing entry, or a value that cannot be.
    """
    try:
        content = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PipelineError(f"{folder / CARD} is not TOML: {error}.") from None
    if content.pop("format", None) != FORMAT:
        raise PipelineError(f"{folder / CARD} is not a card of format {FORMAT}.")
    _check_names(content, {*_TEXTS, *_TABLES, "figures"}, "the card")
    texts = {name: _take(content, name, str, "the card") for name in _TEXTS}
    content.setdefault("noise", {})  # cards of before it had a table are valid
    tables = {
        name: _table(_take(content, name, dict, "the card"), kind, name)
        for name, kind in _TABLES.items()
    }
    card = Card(
        **texts,
        **tables,
        figures=_figures(content.get("figures", {})),
        sha256=hashlib.sha256(data).hexdigest(),
        folder=folder,
    )
    _check(card)
    return card


def format_card(card: Card) -> str:
    """Write a card as TOML; `parse_card` reads it again."""
    # A basic string, number, boolean or array of those is the same in TOML as in JSON.
    lines = [f"format = {FORMAT}"]
    lines += [f"{name} = {_toml(getattr(card, name))}" for name in _TEXTS]
    tables = {name: asdict(getattr(card, name)) for name in _TABLES}
    tables["figures"] = dict(card.figures)
    for name, table in tables.items():
        lines += ["", f"[{name}]"]
        lines += [f"{key} = {_toml(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _shipped_folder(name: str) -> Path | None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        return None
    folder = Path(str(files("medprotect.pipelines"))) / name
    return folder if (folder / CARD).is_file() else None


def _check_names(table: Mapping[str, Any], known: set[str], where: str) -> None:
    for name in table:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f" Did you mean {near[0]!r}?" if near else f" Known: {sorted(known)}."
            raise PipelineError(f"Unknown entry {name!r} in {where}.{hint}")


def _take(table: Mapping[str, Any], name: str, kind: type[Any], where: str) -> Any:
    if name not in table:
        raise PipelineError(f"{where} lacks {name!r}.")
    value = table[name]
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise PipelineError(f"{name!r} in {where} must be of type {kind.__name__}.")
    return value


def _table(table: dict[str, Any], kind: type[Any], name: str) -> Any:
    """Build a dataclass from a TOML table, each value of exactly the declared type."""
    where = f"[{name}]"
    declared = {entry.name: entry for entry in fields(kind)}
    _check_names(table, set(declared), where)
    values: dict[str, Any] = {}
    for key, entry in declared.items():
        if key not in table and entry.default is not MISSING:
            continue
        if entry.type == tuple[str, ...]:
            items = _take(table, key, list, where)
            if not all(type(item) is str for item in items):
                raise PipelineError(f"{key!r} in {where} must be a list of texts.")
            values[key] = tuple(items)
        else:
            values[key] = _take(table, key, entry.type, where)  # type: ignore[arg-type]
    return kind(**values)


def _figures(table: object) -> dict[str, float]:
    if type(table) is not dict:
        raise PipelineError("[figures] must be a table.")
    return {name: _take(table, name, float, "[figures]") for name in table}


def _check(card: Card) -> None:
    images, codes = card.images, card.codes
    rules = {
        "name: lower-case letters, digits and hyphens": re.fullmatch(
            r"[a-z0-9][a-z0-9-]*", card.name
        ),
        "channels: 1 or 3": images.channels in (1, 3),
        "canonical_size: 8 to 1024": 8 <= images.canonical_size <= 1024,
        "assigner_size: 8 to 1024": 8 <= images.assigner_size <= 1024,
        "modalities: at least one": images.modalities,
        "photometrics: at least one": images.photometrics,
        "experimental: some of modalities": set(images.experimental) <= set(images.modalities),
        "classes: 2 to 1024 different names": 2 <= len(set(codes.classes)) <= 1024
        and len(set(codes.classes)) == len(codes.classes),
        "source: one of " + ", ".join(SOURCES): codes.source in SOURCES,
        "temperature: above 0": 0 < codes.temperature < float("inf"),
        "carrier: one of " + ", ".join(CARRIERS): card.noise.carrier in CARRIERS,
        "slots: of grain alone": codes.source != SLOTS or card.noise.carrier == GRAIN,
        "widths: 4 to 512, or 0 for what grain does not need": all(
            4 <= width <= 512 or (width == 0 and card.noise.carrier == GRAIN)
            for width in (card.widths.generator, card.widths.assigner)
        ),
        "gain: above 0": 0 < card.noise.gain < float("inf"),
        "stronger: 0 to 4": 0 <= card.noise.stronger <= 4,
        "weaker: 0 to 1": 0 <= card.noise.weaker <= 1,
        "weights.file: a path below the card": _is_below(card.weights.file),
        "weights.sha256: 64 hex digits": re.fullmatch(r"[0-9a-f]{64}", card.weights.sha256),
    }
    for rule, holds in rules.items():
        if not holds:
            raise PipelineError(f"The card breaks a rule. {rule}.")


def _is_below(file: str) -> bool:
    path = Path(file)
    return bool(file) and not path.is_absolute() and ".." not in path.parts
