"""Pipelines whose noise says any labels: ``python -m medprotect.training.slots pipelines``.

Nothing is trained for them: their weights are the spectra of `medprotect.confounder.grain`.
"""

import datetime
import hashlib
import sys
from pathlib import Path

from medprotect.confounder.card import (
    CARD,
    GRAIN,
    SLOTS,
    WEIGHTS,
    Card,
    Codes,
    Images,
    Noise,
    Training,
    Weights,
    Widths,
    format_card,
    load_card,
)
from medprotect.confounder.grain import Grain
from medprotect.confounder.noise import GENERATOR
from medprotect.confounder.slots import SLOT_COUNT
from medprotect.confounder.weights import save_tensors, write_private
from medprotect.training.training import COLOUR, GREY

CANONICAL_SIZE = 256
"""Pixels of the long side that grain is drawn at; it has nothing finer than ten of 512."""

GAIN = 0.8
"""Spread of the grain as a share of the budget: its crests reach the bound."""

STRONGER, WEAKER = 1.5, 0.8
"""What texture grows by in the bands of its class, and loses in those of others."""

RADIOGRAPHS = ("CR", "DX", "RG", "MG", "XA", "RF", "IO", "PX")
OTHER_GREY = ("", "OT", "SC", "OP", "OPT", "OPM", "OPV", "ES", "GM", "SM", "XC", "BI", "DG", "TG")
OTHER_COLOUR = ("SM", "", "GM", "XC", "ES", "OP", "OPT", "SC", "OT", "US", "IVUS", "CT", "MR", "DX")

KINDS = {
    "labels-ct": (("CT",), ()),
    "labels-mr": (("MR",), ()),
    "labels-radiograph": (RADIOGRAPHS, RADIOGRAPHS[2:]),
    "labels-ultrasound": (("US", "IVUS"), ("IVUS",)),
    "labels-grey": (OTHER_GREY, OTHER_GREY[1:]),
    "labels-colour": (OTHER_COLOUR, OTHER_COLOUR[1:]),
}
"""Modalities by pipeline, and those of them that it was never tested on."""


def make_pipeline(out: Path, modalities: tuple[str, ...], experimental: tuple[str, ...]) -> Card:
    """Write a pipeline of slots, and return its card.

    Parameters
    ----------
    out : Path
        Its folder, named as the pipeline is to be.
    modalities, experimental : tuple of str
        See `medprotect.confounder.card.Images`.
    """
    tensors = {GENERATOR + name: each for name, each in Grain().state_dict().items()}
    data = save_tensors(out / WEIGHTS, tensors)
    in_colour = "colour" in out.name
    card = Card(
        name=out.name,
        title=f"{out.name}: {', '.join(each or 'none stated' for each in modalities)}, any labels",
        version="1",
        images=Images(
            modalities=modalities,
            photometrics=COLOUR if in_colour else GREY,
            experimental=experimental,
            channels=3 if in_colour else 1,
            canonical_size=CANONICAL_SIZE,
            assigner_size=CANONICAL_SIZE,
        ),
        codes=Codes(
            classes=tuple(f"slot {number:02d}" for number in range(1, SLOT_COUNT + 1)),
            source=SLOTS,
            decoys=False,
        ),
        widths=Widths(generator=0, assigner=0),
        noise=Noise(gain=GAIN, carrier=GRAIN, stronger=STRONGER, weaker=WEAKER),
        training=Training(
            command="python -m medprotect.training.slots pipelines",
            date=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        ),
        weights=Weights(sha256=hashlib.sha256(data).hexdigest()),
    )
    write_private(out / CARD, format_card(card).encode())
    for path in (out / CARD, out / WEIGHTS):
        path.chmod(0o644)
    return load_card(out)


if __name__ == "__main__":
    for _name, _modalities in KINDS.items():
        make_pipeline(Path(sys.argv[1]) / _name, *_modalities)
