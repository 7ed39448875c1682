"""Runs that hold as much of the truth as is asked for."""

from collections.abc import Mapping, Sequence

import numpy as np

from medprotect.audit.protection import Predicted
from medprotect.bench.protection.record import AttackSettings, Moments, Run, pack
from medprotect.confounder.accuracy import balanced_accuracy

LABELS = np.arange(400) % 4


def tell(right: float, seed: int, labels: Predicted = LABELS) -> Predicted:
    """Return classes of which so large a share is right, the same share of each class."""
    random = np.random.default_rng(seed)
    told = (labels + random.integers(1, 4, len(labels))) % 4
    for each in range(4):
        of_class = random.permutation(np.flatnonzero(labels == each))
        known = of_class[: round(right * len(of_class))]
        told[known] = each
    return told


def make_run(
    name: str = "em",
    *,
    attack: tuple[str, str] = ("resnet18", "none"),
    seed: int = 1,
    right: float | Sequence[float] = 0.5,
    held: Sequence[float] | None = None,
    oracle: float | None = None,
    balanced: float | None = None,
    with_images: Mapping[int, Mapping[str, float]] | None = None,
    dataset: str = "busi",
    steps: int = 1000,
    size: int = 64,
    command: str = "medprotect bench protection --dataset busi --images busi --out runs",
    **made_with: str | int,
) -> Run:
    """Return a run.

    Parameters
    ----------
    right : float or sequence of float
        Accuracies at the moments, evenly spread over the steps; one is that of the last.
    held : sequence of float, optional
        Accuracies on the images that were held out; else as `right`.
    oracle : float, optional
        Else the last of `right`.
    balanced : float, optional
        Accuracy at the end, each class given as often as the set holds it; None for an older run.
    with_images : mapping, optional
        Accuracies by k and attack.
    """
    rights = [right] if isinstance(right, float) else list(right)
    told = [tell(each, seed) for each in rights]
    by_oracle = tell(rights[-1] if oracle is None else oracle, seed)
    alone = name == "no set"
    moments: Moments = {
        "steps": [steps * (at + 1) // len(told) for at in range(len(told))],
        "held": list(held or rights),
        "predicted": [pack(each) for each in told],
    }
    if balanced is not None:
        moments["balanced"] = pack(tell(balanced, seed))
    tried: AttackSettings = {
        "victim": attack[0],
        "countermeasure": attack[1],
        "seed": seed,
        "steps": steps,
    }
    if with_images:
        tried["k"] = sorted(with_images)
    strength = {} if name in ("clean", "no set") else {"strength": "standard"}
    figures = {
        "psnr_db": {"protected": 31.64, "jpeg_50": 29.36},
        "vif": {"protected": 0.5678, "jpeg_50": 0.4},
        "ms_ssim": {"protected": 0.98, "jpeg_50": 0.97},
    }
    return {
        "schema_version": 2,
        "settings": {
            "data": {
                "dataset": dataset,
                "sha256": f"{dataset}{size}",
                "train": 1500,
                "image_size": [size, size, 1],
            },
            "protection": {"name": name, **strength, **made_with},
            "attack": tried,
        },
        "accuracy": None
        if alone
        else {
            "as_it_ends": balanced_accuracy(told[-1], LABELS, 4),
            "oracle": balanced_accuracy(by_oracle, LABELS, 4),
        },
        "protected": {"seconds": 61.7, "fidelity": figures} if strength else None,  # type: ignore[typeddict-item]
        "classes": list("abcd"),
        "validation": 70,
        "labels": pack(LABELS),
        "moments": None if alone else moments,
        "oracle": None if alone else pack(by_oracle),
        "with_images": {
            str(k): {each: pack(tell(share, seed)) for each, share in attacks.items()}
            for k, attacks in (with_images or {}).items()
        },
        "command": command,
        "date": "2026-11-26",
        "versions": {"medprotect": "0.1.0", "torch": "2", "processor": "x", "threads": "1"},
        "seconds": 900.0,
        "peak_memory_mb": 1234.0,
    }
