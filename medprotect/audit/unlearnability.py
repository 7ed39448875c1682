"""Does the protection hold? ``python -m medprotect.audit.unlearnability --images SOURCE``.

Half B of a data set is protected without labels, as a protected PNG would hold it; victims learn
from it, and are tested on clean images, their outputs renamed as an attacker would. Prints JSON.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from medprotect.audit.halves import Halves, Labelled, read_halves
from medprotect.audit.relabelling import balanced_accuracy, best_relabelling
from medprotect.audit.victims import VICTIMS, predict, train_victim
from medprotect.confounder.card import load_card
from medprotect.confounder.key import Key
from medprotect.confounder.noise import Confounder
from medprotect.imaging.image import Image
from medprotect.intensity.budget import STRENGTHS
from medprotect.protect.protectable import add_noise

Images = NDArray[np.uint8]


def protect(images: Images, confounder: Confounder, strength: str) -> Images:
    """Protect images (N, H, W, C) without labels, as a run protects a PNG of each."""
    protected = np.empty_like(images)
    for index, stored in enumerate(images):
        colour = stored.shape[2] == 3
        image = Image(
            stored if colour else stored[..., 0],
            lowest=0,
            highest=255,
            photometric="RGB" if colour else "MONOCHROME2",
        )
        changed = add_noise([image], confounder.noise, strength)
        protected[index] = changed.reshape(stored.shape)
    return protected


def jpeg10(images: Images) -> Images:
    """Pass through JPEG at quality 10."""
    return np.stack([_jpeg(image, 10) for image in images])


def _jpeg(image: Images, quality: int) -> Images:
    stream = BytesIO()
    Picture.fromarray(image.squeeze()).save(stream, "JPEG", quality=quality)
    with Picture.open(stream) as picture:
        return np.asarray(picture).reshape(image.shape)


def grey(images: Images) -> Images:
    """Replace colour by its luminance (ITU-R BT.601)."""
    if images.shape[3] == 1:
        return images
    shade = (images @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)
    return np.repeat(shade[..., None], 3, axis=3)


def _as_is(images: Images) -> Images:
    return images


COUNTERMEASURES: dict[str, Callable[[Images], Images]] = {
    "none": _as_is,
    "jpeg10": jpeg10,
    "grey": grey,
}


def measure(
    train: Labelled, halves: Halves, *, victim: str, countermeasure: str, seed: int, epochs: int
) -> dict[str, float]:
    """Train one victim and return its accuracies on the clean test images."""
    classes = len(halves.classes)
    treat = COUNTERMEASURES[countermeasure]
    treated = Labelled(treat(train.images), train.labels)
    network = train_victim(VICTIMS[victim], treated, classes, seed=seed, epochs=epochs)
    chosen = predict(network, treat(halves.validation.images))
    renamed = best_relabelling(chosen, halves.validation.labels, classes)
    predicted, labels = predict(network, treat(halves.test.images)), halves.test.labels
    return {
        "accuracy": float((predicted == labels).mean()),
        "balanced": balanced_accuracy(predicted, labels, classes),
        "renamed": balanced_accuracy(renamed[predicted], labels, classes),
    }


def fidelity(clean: Images, protected: Images) -> dict[str, float]:
    """Return the largest change, and PSNR and SSIM on average over images, of 8-bit values."""
    from skimage.metrics import structural_similarity

    change = protected.astype(np.int16) - clean.astype(np.int16)
    errors = np.maximum((change.astype(np.float64) ** 2).mean((1, 2, 3)), 1e-12)
    some = range(0, len(clean), max(1, len(clean) // 200))
    similar = [
        structural_similarity(clean[i], protected[i], channel_axis=2, data_range=255) for i in some
    ]
    return {
        "max_change": float(np.abs(change).max()),
        "psnr_db": float((10 * np.log10(255**2 / errors)).mean()),
        "ssim": float(np.mean(similar)),
    }


def audit(
    halves: Halves,
    confounder: Confounder,
    *,
    strength: str,
    victims: Sequence[str],
    countermeasures: Sequence[str],
    seeds: Sequence[int],
    epochs: int,
) -> dict[str, Any]:
    """Measure victims on clean and on protected images of half B; see the module."""
    protected = Labelled(protect(halves.b.images, confounder, strength), halves.b.labels)
    rows = []
    for victim in victims:
        for countermeasure in countermeasures:
            for kind, train in {"clean": halves.b, "protected": protected}.items():
                for seed in seeds:
                    row = {"victim": victim, "countermeasure": countermeasure, "images": kind}
                    figures = measure(
                        train,
                        halves,
                        victim=victim,
                        countermeasure=countermeasure,
                        seed=seed,
                        epochs=epochs,
                    )
                    rows.append({**row, "seed": seed, **figures})
                    print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return {
        "pipeline": confounder.card.name,
        "pipeline_sha256": confounder.card.pipeline_sha256,
        "strength": strength,
        "images": {"protected": len(protected), "test": len(halves.test)},
        "fidelity": fidelity(halves.b.images, protected.images),
        "means": _means(rows),
        "rows": rows,
    }


def _means(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Average over seeds, with the standard deviation of the renamed balanced accuracy."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["victim"], row["countermeasure"], row["images"]), []).append(row)
    return [
        {
            "victim": victim,
            "countermeasure": countermeasure,
            "images": kind,
            "balanced": float(np.mean([row["balanced"] for row in group])),
            "renamed": float(np.mean([row["renamed"] for row in group])),
            "renamed_sd": float(np.std([row["renamed"] for row in group])),
        }
        for (victim, countermeasure, kind), group in groups.items()
    ]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="MedMNIST npz, or a folder")
    parser.add_argument("--pipeline", default="blood-microscopy", help="name or folder")
    parser.add_argument("--key", type=Path, help="the owner's key; else a new one")
    parser.add_argument("--strength", default="standard", choices=list(STRENGTHS))
    parser.add_argument("--victims", nargs="+", default=["resnet18"], choices=list(VICTIMS))
    parser.add_argument(
        "--countermeasures", nargs="+", default=["none"], choices=list(COUNTERMEASURES)
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=12)
    return parser.parse_args()


def main() -> None:
    """Run from the command line."""
    given = _parse()
    folder = Path(given.pipeline)
    card = load_card(folder if folder.is_dir() else given.pipeline)
    key = Key.load(given.key) if given.key else Key.new()
    report = audit(
        read_halves(given.images),
        Confounder(card, key),
        strength=given.strength,
        victims=given.victims,
        countermeasures=given.countermeasures,
        seeds=given.seeds,
        epochs=given.epochs,
    )
    json.dump({**report, "key": key.fingerprint}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
