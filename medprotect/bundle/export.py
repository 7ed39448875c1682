"""`medprotect bundle export`: a pipeline as one zip that MONAI's commands take."""

import secrets
from pathlib import Path

from medprotect.bundle.archive import SUMS, Contents, pack
from medprotect.bundle.layout import bundle_files, bundle_version
from medprotect.bundle.model_pt import MODEL, make_model_pt
from medprotect.confounder.card import CARD, SLOTS, Card, load_card, shipped_cards
from medprotect.confounder.measured import MEASURED
from medprotect.errors import ConfigError, OutputError, PipelineError
from medprotect.protect.atomic import publish, write_file

README = "docs/README.md"


def export_bundle(pipeline: str, out: Path, *, share_secret: bool = False) -> Contents:
    """Write a pipeline as a self-contained bundle, a zip.

    The same pipeline, medprotect and torch give the same bytes.

    Parameters
    ----------
    pipeline : str
        Name of a shipped pipeline, or folder of an own one.
    out : Path
        The zip; must not exist.
    share_secret : bool
        Whether a pipeline that is not shipped may go out: its weights are a secret.

    Returns
    -------
    Contents
        What was written.

    Raises
    ------
    ConfigError
        The pipeline is the owner's own, and `share_secret` is false; or its noise says labels.
    OutputError
        `out` exists or cannot be written.
    PipelineError, HashMismatchError
        The pipeline is missing or damaged.
    """
    card = load_card(pipeline)
    public = is_public(card)
    if not public and not share_secret:
        raise ConfigError(
            "This pipeline is your own, and its weights are as secret as the key: with them an "
            "attacker can learn to remove the noise from all images that they protect. To export "
            "it anyway, give --i-share-my-secret."
        )
    if out.exists():
        raise OutputError("The file exists. It is never overwritten: name another file.")
    if card.codes.source == SLOTS:
        raise ConfigError(
            f"The noise of pipeline {card.name} says labels, and a bundle is run without. Use the "
            "transform Protectd with label_key and classes."
        )
    contents = bundle_contents(card)
    partial = out.with_name(f".medprotect-{secrets.token_hex(8)}.part")
    write_file(partial, pack(contents.files, card.name), 0o644 if public else 0o600)
    try:
        publish(partial, out)
    finally:
        partial.unlink(missing_ok=True)
    return contents


def bundle_contents(card: Card) -> Contents:
    """Return all files of the bundle of a card, with `model.pt` and the hashes of all."""
    files = {name: text.encode() for name, text in bundle_files(card).items()}
    files[MODEL] = make_model_pt(card)  # checks the weights too
    for name in (CARD, card.weights.file, README):
        files[name] = _read(card, name)
    if (card.folder / MEASURED).exists():
        files[MEASURED] = _read(card, MEASURED)
    return Contents({**files, SUMS: Contents(files).sums.encode()})


def bundle_name(card: Card) -> str:
    """Return what the zip of a card is called in the model zoo."""
    return f"{card.name}_v{bundle_version(card)}.zip"


def is_public(card: Card) -> bool:
    """Whether a pipeline comes with medprotect, so that everybody has its weights."""
    return card.sha256 in {each.sha256 for each in shipped_cards()}


def _read(card: Card, name: str) -> bytes:
    try:
        return (card.folder / name).read_bytes()
    except OSError as error:
        raise PipelineError(f"{name} of the pipeline cannot be read: {error.strerror}.") from None
