"""Does a pipeline protect? ``python -m medprotect.bench.studies.unlearnability --images SOURCE``.

Half B of a data set is protected without labels, as a protected PNG would hold it; victims learn
from it, and are tested on clean images. Prints the findings of `medprotect.audit.examination`.
"""

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medprotect.audit.attack import COUNTERMEASURES
from medprotect.audit.attack.aids import AIDED
from medprotect.audit.attack.countermeasure import Aid
from medprotect.audit.attack.victims import VICTIMS
from medprotect.audit.examination import NONE, Budget, examine
from medprotect.audit.halves import Halves, Labelled, draw, read_halves
from medprotect.audit.pairs import Pairs
from medprotect.audit.state import State
from medprotect.confounder.card import Card, load_card
from medprotect.confounder.key import Key
from medprotect.confounder.noise import Confounder
from medprotect.errors import BudgetBelowOneError
from medprotect.imaging.image import Image
from medprotect.intensity.budget import STRENGTHS, Reach, may_change
from medprotect.intensity.windows import view
from medprotect.protect.protectable import add_noise

Images = NDArray[np.uint8]


def protect(
    images: Images,
    confounder: Confounder,
    strength: str,
    labels: NDArray[np.int64] | None = None,
) -> Images:
    """Protect images (N, H, W, C), with labels or without, as a run protects a PNG of each."""
    protected = np.empty_like(images)
    for index, stored in enumerate(images):
        label = None if labels is None else int(labels[index])
        changed = add_noise([as_png(stored)], confounder.noise, strength, label)
        protected[index] = changed.reshape(stored.shape)
    return protected


def leave_out_rejected(part: Labelled, strength: str) -> Labelled:
    """Leave out what a run would reject, such as constant images: nobody would learn from it."""
    kept = [index for index, stored in enumerate(part.images) if _is_protectable(stored, strength)]
    return part if len(kept) == len(part) else part.take(np.array(kept, np.int64))


def _is_protectable(stored: NDArray[np.uint8], strength: str) -> bool:
    seen, reach = view(as_png(stored)), Reach(strength)
    reach.add(seen, may_change(seen, strength))
    try:
        reach.check()
    except BudgetBelowOneError:
        return False
    return True


def as_png(stored: NDArray[np.uint8]) -> Image:
    """Return an image (H, W, C) as a run reads it from a PNG."""
    colour = stored.shape[2] == 3
    return Image(
        stored if colour else stored[..., 0],
        lowest=0,
        highest=255,
        photometric="RGB" if colour else "MONOCHROME2",
    )


def pair_half_b(
    halves: Halves, confounder: Confounder, strength: str, *, labels_known: bool = False
) -> Pairs:
    """Protect half B, which the generator never saw."""
    half = leave_out_rejected(halves.b, strength)
    labels = half.labels if labels_known else None
    return Pairs(
        clean=half,
        protected=protect(half.images, confounder, strength, labels),
        validation=halves.validation,
        test=halves.test,
        patients=None,
        classes=halves.classes,
        split="given",
    )


def give_half_a(
    halves: Halves, card: Card, strength: str, *, leaked: int = 0, other: bool = False
) -> Aid:
    """Return what an attacker has who holds images of half A, which no victim learns from.

    Parameters
    ----------
    card : Card
        Of the pipeline that the other owner uses.
    leaked : int
        So many in clear and protected under another owner's key: from whoever has the pipeline,
        too, and protects images of their own.
    other : bool
        Whether all of them in clear, without labels.
    """
    aid = Aid(other=halves.a.images if other else None)
    if not leaked:
        return aid
    part = leave_out_rejected(halves.a, strength).images[:leaked]
    protected = protect(part, Confounder(card, Key.new()), strength)
    return replace(aid, leaked_clean=part, leaked_protected=protected)


def draw_parts(halves: Halves, most: int | None) -> Halves:
    """Return so many images at most of half B, of the validation and of the test set each."""
    parts = (halves.b, halves.validation, halves.test)
    half, validation, test = (draw(part, most) for part in parts)
    return replace(halves, b=half, validation=validation, test=test)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="MedMNIST npz, or a folder")
    parser.add_argument("--pipeline", default="blood-microscopy", help="name or folder")
    parser.add_argument("--key", type=Path, help="the owner's key; else a new one")
    parser.add_argument("--strength", default="standard", choices=list(STRENGTHS))
    parser.add_argument("--labels-known", action="store_true", help="protect with labels")
    parser.add_argument("--victims", nargs="+", default=["resnet18"], choices=list(VICTIMS))
    tried = [name for name in COUNTERMEASURES if name not in (NONE, *AIDED)]
    parser.add_argument("--countermeasures", nargs="*", default=[], choices=tried)
    parser.add_argument("--leaked", type=int, default=0, help="pairs of another key: inverse")
    parser.add_argument("--leaked-by", help="pipeline of that key's owner; else the same")
    parser.add_argument(
        "--other", action="store_true", help="half A in clear: autoencoder, diffusion"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--most", type=int, help="images of half B, validation and test each")
    parser.add_argument("--state", type=Path, help="keeps finished trainings; see the audit")
    return parser.parse_args()


def main() -> None:
    """Run from the command line."""
    given = _parse()
    card = load_card(given.pipeline)
    key = Key.load(given.key) if given.key else Key.new()
    halves = read_halves(given.images)
    pairs = pair_half_b(
        draw_parts(halves, given.most),
        Confounder(card, key),
        given.strength,
        labels_known=given.labels_known,
    )
    budget = Budget(
        name="given",
        victims=tuple(given.victims),
        countermeasures=tuple(given.countermeasures),
        seeds=tuple(given.seeds),
        steps=given.steps,
    )
    leaker = load_card(given.leaked_by) if given.leaked_by else card
    aid = give_half_a(halves, leaker, given.strength, leaked=given.leaked, other=given.other)
    found = examine(
        pairs,
        budget.aided_by(aid),
        decoys="on" if card.codes.decoys else "off",
        aid=aid,
        state=State(given.state),
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    made = {"pipeline": card.name, "pipeline_sha256": card.pipeline_sha256, "key": key.fingerprint}
    json.dump({**made, "strength": given.strength, **asdict(found)}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
