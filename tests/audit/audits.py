"""Audits as the command writes them."""

import math

from medprotect.audit.report_schema import Audit, Curve, Row

CLEAN, CHANCE = 0.93, 0.125

SHARES = {
    "none": (0.95, 0.97),
    "augmentation": (0.96, 0.94),
    "grey": (0.95, 0.91),
    "blur": (0.93, 0.92),
    "median filter": (0.88, 0.84),
    "jpeg-10": (0.61, 0.41),
    "adversarial training": (0.72, 0.66),
    "pretrained backbone": (0.55, 0.43),
}
"""Protection from two victims for each countermeasure."""


def make_row(victim: str, countermeasure: str, share: float, clean_share: float = 0.0) -> Row:
    reached = CLEAN - share * (CLEAN - CHANCE)
    return {
        "victim": victim,
        "countermeasure": countermeasure,
        "clean_share": clean_share,
        "seeds": [1, 2, 3],
        "clean_trained": CLEAN,
        "as_it_ends": reached - 0.03,
        "best_on_set": reached - 0.01,
        "stopped_early": reached,
        "balanced": reached - 0.02,
        "attacker_best": reached,
        "oracle": reached + 0.02,
        "protection": share,
        "interval": (share - 0.03, share + 0.02),
    }


def make_curve(label: str, *, validation: float) -> Curve:
    steps = list(range(0, 564, 47))
    risen = [1 - math.exp(-step / 90) for step in steps]
    return {
        "label": label,
        "steps": steps,
        "train_accuracy": [CHANCE + (0.98 - CHANCE) * each for each in risen],
        "validation_accuracy": [CHANCE + (validation - CHANCE) * each for each in risen],
    }


def make_audit() -> Audit:
    rows = [
        make_row(victim, name, share)
        for name, shares in SHARES.items()
        for victim, share in zip(("resnet18", "vgg"), shares, strict=True)
    ]
    rows += [
        make_row("resnet18", "none", share, clean) for clean, share in ((0.2, 0.24), (0.05, 0.58))
    ]
    return {
        "schema_version": 2,
        "medprotect": "0.1.0",
        "date": "2026-11-25",
        "command": "medprotect audit IMAGES --labels labels.csv --protected OUT --budget standard "
        "--report audit.html",
        "budget": "standard",
        "data": {
            "classes": [
                *("basophil", "eosinophil", "erythroblast", "immature granulocyte"),
                *("lymphocyte", "monocyte", "neutrophil", "platelet"),
            ],
            "train": 5979,
            "validation": 1712,
            "test": 3421,
            "split": "given",
            "left_out": 0,
            "image_size": [28, 28, 3],
        },
        "protection": {
            "measurable": True,
            "plain": 0.95,
            "plain_interval": (0.93, 0.97),
            "worst": 0.41,
            "worst_interval": (0.38, 0.44),
            "worst_attacker": {"victim": "vgg", "countermeasure": "jpeg-10"},
            "with_images": [
                {
                    "k": 10,
                    "alone": 0.61,
                    "clean": 0.93,
                    "protected": 0.71,
                    "attack": "resnet18, together",
                    "protection": 0.69,
                    "interval": (0.62, 0.75),
                },
                {
                    "k": 50,
                    "alone": 0.85,
                    "clean": 0.93,
                    "protected": 0.85,
                    "attack": None,
                    "protection": None,
                    "interval": None,
                },
            ],
            "decoys": "on",
        },
        "accuracy": {"clean": CLEAN, "chance": CHANCE, "clean_victim": "resnet18"},
        "matrix": rows,
        "utility": {"clean_trained_on_clean": 0.93, "clean_trained_on_protected": 0.4},
        "curves": [
            make_curve("resnet18, clean", validation=0.93),
            make_curve("resnet18, protected", validation=0.16),
            make_curve("vgg with jpeg-10, protected", validation=0.6),
        ],
        "fidelity": {
            name: {"protected": protected, "jpeg_50": jpeg}
            for name, (protected, jpeg) in _FIGURES.items()
        },
        "tried": [
            "resnet18 and vgg, from scratch, 12 epochs, 3 seeds each",
            "the best renaming of outputs, fitted on clean validation images",
            "stopping at the best moment, chosen on clean validation images",
        ],
        "not_tried": [
            "segmentation and detection",
            "pairs of clean and protected images that leaked",
            "a generator trained to remove the noise",
        ],
        "environment": {"Python": "3.11.7", "PyTorch": "2.13.0, 2 processors"},
    }


_FIGURES: dict[str, tuple[float | None, float | None]] = {
    "psnr_db": (34.5, 29.4),
    "ssim": (0.975, 0.935),
    "ms_ssim": (0.993, 0.950),
    "vif": (0.635, 0.482),
    "max_change": (8.0, 84.0),
    "max_change_percent": (3.14, 32.9),
    "rms_change": (4.80, 8.89),
    "rms_change_percent": (1.88, 3.49),
    "disc_shift": (6.67, 43.4),
    "disc_shift_percent": (2.61, 17.0),
    "first_order_mean_percent": (0.09, 0.18),
    "first_order_sd_percent": (0.22, 2.87),
    "first_order_skewness_percent": (0.78, 4.78),
    "first_order_kurtosis_percent": (0.67, 4.84),
    "first_order_entropy_percent": (6.70, 4.47),
    "texture_contrast_percent": (2.52, 25.8),
    "texture_homogeneity_percent": (5.27, 9.52),
    "texture_energy_percent": (15.2, 16.3),
    "texture_correlation_percent": (0.48, 2.75),
}
