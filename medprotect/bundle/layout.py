"""Writing what makes a pipeline's folder a MONAI bundle, from its card.

``python -m medprotect.bundle.layout FOLDER ...`` writes it again, after new weights for example.
"""

import json
import sys
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import medprotect
from medprotect.confounder.along_z import COHERENT
from medprotect.confounder.card import CARD, GRAIN, UNET, Card, load_card
from medprotect.confounder.measured import read_measured
from medprotect.confounder.noise import network_arguments
from medprotect.confounder.weights import write_private
from medprotect.intensity.budget import name_strength

SCHEMA = "meta_schema_20240725.json"
SCHEMA_URL = f"https://project-monai.github.io/schema/{SCHEMA}"
TESTED = {"monai": "1.6.1", "pytorch": "2.13.0", "numpy": "2.4.6"}
"""Versions that bundles are tested with."""

_NETWORKS = {
    UNET: "medprotect.confounder.noise.NoiseNetwork",
    GRAIN: "medprotect.confounder.noise.GrainNetwork",
}
_RUN = ("$torch.set_num_threads(1)", "$@evaluator.run()")
_IMPORT_REMAP = "$from medprotect.bundle.references import remap_references"
_DEVICE = "$torch.device('cpu')"  # the bytes depend on the backend, and `medprotect run` is there

Config = dict[str, Any]


def bundle_files(card: Card) -> dict[str, str]:
    """Return the text of every file that a card decides, by path in the bundle.

    Into the metadata goes what was measured besides.
    """
    configs = {
        "metadata": metadata(card),
        "inference": inference(card),
        "evaluate": evaluate(),
        "train": train(card),
        "multi_gpu_train": multi_gpu_train(),
    }
    texts = {
        f"configs/{name}.json": json.dumps(content, indent=4, ensure_ascii=False) + "\n"
        for name, content in configs.items()
    }
    own = files("medprotect.bundle")
    texts[f"configs/{SCHEMA}"] = own.joinpath(SCHEMA).read_text("utf-8")
    texts["configs/logging.conf"] = own.joinpath("logging.conf").read_text("utf-8")
    texts["LICENSE"] = own.joinpath("LICENSE").read_text("utf-8")
    texts["docs/data_license.txt"] = data_license(card)
    return texts


def write_bundle_files(folder: Path) -> None:
    """Write them into the folder of a pipeline, readable by those who can read its card."""
    readable = (folder / CARD).stat().st_mode & 0o666
    for name, text in bundle_files(load_card(folder)).items():
        path = folder / name
        write_private(path, text.encode())
        path.chmod(readable)
        path.parent.chmod(folder.stat().st_mode & 0o777)


def bundle_version(card: Card) -> str:
    """Return the card's version in the three numbers that bundles have."""
    return ".".join([*card.version.split("."), "0", "0"][:3])


def metadata(card: Card) -> Config:
    """Return metadata.json."""
    channels, version = card.images.channels, bundle_version(card)
    image = {
        "type": "image",
        "format": "magnitude" if channels == 1 else "rgb",
        "modality": ",".join(each or "none stated" for each in card.images.modalities),
        "num_channels": channels,
        "spatial_shape": ["*", "*"],
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": False,
        "channel_def": {"0": "image"} if channels == 1 else {"0": "R", "1": "G", "2": "B"},
    }
    noise = {**image, "format": "noise", "value_range": [-1, 1]}
    return {
        "schema": SCHEMA_URL,
        "version": version,
        "changelog": {
            version: f"weights of {card.training.date}, sha256 {card.weights.sha256}",
        },
        "monai_version": TESTED["monai"],
        "pytorch_version": TESTED["pytorch"],
        "numpy_version": TESTED["numpy"],
        "required_packages_version": {
            "medprotect": medprotect.__version__,
            "pytorch-ignite": "0.5.5",
            "fire": "0.7.1",
            "jsonschema": "4.26.0",
        },
        "name": card.name,
        "task": "Protection of medical images against training without permission",
        "description": f"{card.title}. Adds noise, bounded per pixel, so that models trained on "
        "the images without permission learn less of the anatomy. How much less: docs/README.md.",
        "authors": "medprotect",
        "copyright": "Apache-2.0; of the weights see docs/data_license.txt",
        "data_source": f"{card.training.data}: {card.training.attribution}",
        "data_type": "dicom, nifti, png, tiff, jpeg",
        "image_classes": "presented values: what the clinical window shows, 0 black to 1 white",
        "label_classes": ", ".join(card.codes.classes),
        "pred_classes": "noise, as a share of the budget of each pixel",
        "eval_metrics": {**card.figures, **_measured(card)},
        "intended_use": "Images that leave the house. Not for diagnosis with models trained on "
        "clean images."
        + (" The noise misleads them on purpose: it has decoys." if card.codes.decoys else ""),
        "references": [],
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": noise}},
    }


def _measured(card: Card) -> Config:
    """Return what was measured to be protected, by strength, without what was not."""
    figures = {
        strength: {name: figure for name, figure in asdict(found).items() if figure is not None}
        for strength, found in read_measured(card.folder).items()
    }
    return {"measured": figures} if figures else {}


def inference(card: Card) -> Config:
    """Return inference.json."""
    return {
        "imports": ["$import torch", _IMPORT_REMAP],
        "bundle_root": ".",
        "dataset_dir": "/workspace/data",
        "output_dir": "$@bundle_root + '/eval'",
        "key_file": "",
        "strength": "standard",
        "keep_uids": False,
        "along_z": COHERENT,
        "device": _DEVICE,
        "network_def": {"_target_": _NETWORKS[card.noise.carrier], **network_arguments(card)},
        "network": "$@network_def.to(@device)",
        "datalist": {
            "_target_": "medprotect.bundle.dataset.list_images",
            "dataset_dir": "@dataset_dir",
            "folder": "@bundle_root",
        },
        "preprocessing": _compose(
            {"_target_": "medprotect.protect.transforms.LoadProtectabled", "keys": "image"},
            {"_target_": "medprotect.bundle.transforms.Presentd", "keys": "image"},
        ),
        "dataset": {"_target_": "Dataset", "data": "@datalist", "transform": "@preprocessing"},
        "dataloader": {
            "_target_": "DataLoader",
            "dataset": "@dataset",
            "batch_size": 1,
            "shuffle": False,
            "num_workers": 0,
        },
        "inferer": _inferer(),
        "postprocessing": _compose(
            _add_noise(),
            {
                "_target_": "medprotect.protect.transforms.SaveProtectedd",
                "keys": "pred",
                "folder": "@output_dir",
                "data_root_dir": "@dataset_dir",
            },
        ),
        "handlers": [
            _weights_loader(),
            {"_target_": "StatsHandler", "iteration_log": False},
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "initialize": [],
        "run": [*_RUN, "$remap_references(@dataset_dir, @output_dir, @bundle_root)"],
        "finalize": [],
    }


def evaluate() -> Config:
    """Return evaluate.json, laid over inference.json: writes no image, measures fidelity."""
    pair = "$monai.handlers.from_engine(['pred', 'image'])"
    return {
        "run": list(_RUN),
        "postprocessing": _compose(
            _add_noise(),
            {"_target_": "medprotect.bundle.transforms.PresentAgaind", "keys": "pred"},
        ),
        "handlers": [
            _weights_loader(),
            {"_target_": "StatsHandler", "iteration_log": False},
            {
                "_target_": "MetricsSaver",
                "save_dir": "@output_dir",
                "metrics": ["psnr", "mse"],
                "metric_details": [],
                "summary_ops": "*",
            },
        ],
        "evaluator#key_val_metric": {
            "psnr": {
                "_target_": "PeakSignalToNoiseRatio",
                "max_val": 1.0,
                "output_transform": pair,
            }
        },
        "evaluator#additional_metrics": {
            "mse": {"_target_": "MeanSquaredError", "output_transform": pair}
        },
    }


def train(card: Card) -> Config:
    """Return train.json: `medprotect train` as a workflow."""
    return {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "dataset_dir": "/workspace/data/images",
        "labels_csv": "$@dataset_dir + '/../labels.csv'",
        "output_dir": "$@bundle_root + '/trained'",
        "device": _DEVICE,
        "modality": ",".join(each for each in card.images.modalities if each),
        "steps": card.training.steps,
        "tries": card.training.tries,
        "seed": card.training.seed,
        "size": card.images.assigner_size,
        "clusters": len(card.codes.classes) if card.codes.source == "clusters" else None,
        "decoys": card.codes.decoys,
        "trained_for": name_strength(card.training.strength),
        "network_def": {"_target_": _NETWORKS[card.noise.carrier], **network_arguments(card)},
        "train": {
            "preprocessing": _compose(
                {"_target_": "medprotect.protect.transforms.LoadProtectabled", "keys": "image"},
                {"_target_": "medprotect.bundle.transforms.Presentd", "keys": "image"},
            ),
            "dataset": {
                "_target_": "Dataset",
                "data": {
                    "_target_": "medprotect.bundle.dataset.list_labelled",
                    "dataset_dir": "@dataset_dir",
                    "labels_csv": "@labels_csv",
                },
                "transform": "@train#preprocessing",
            },
            "inferer": {"_target_": "SimpleInferer"},
            "trainer": {
                "_target_": "medprotect.bundle.training.ConfounderTrainer",
                "images": "@dataset_dir",
                "labels_csv": "@labels_csv",
                "out": "@output_dir",
                "modality": "@modality",
                "steps": "@steps",
                "tries": "@tries",
                "seed": "@seed",
                "size": "@size",
                "clusters": "@clusters",
                "decoys": "@decoys",
                "strength": "@trained_for",
                "max_epochs": 1,
            },
        },
        "initialize": [],
        "run": ["$@train#trainer.run()"],
        "finalize": [],
    }


def multi_gpu_train() -> Config:
    """Return multi_gpu_train.json, laid over train.json: one process a rank."""
    return {
        "initialize": [
            "$import torch.distributed as dist",
            "$dist.is_initialized() or dist.init_process_group(backend='gloo')",
        ],
        "finalize": ["$dist.is_initialized() and dist.destroy_process_group()"],
    }


def data_license(card: Card) -> str:
    """Return docs/data_license.txt."""
    made = card.training
    if not made.licence:
        return "The weights were trained on images of their owner, and are as secret as the key.\n"
    return (
        f"The weights were trained on {made.data}.\n\n"
        f"Licence of the data: {made.licence}\nAttribution: {made.attribution}\n"
    )


def _compose(*transforms: Config) -> Config:
    return {"_target_": "Compose", "transforms": list(transforms)}


def _add_noise() -> Config:
    return {
        "_target_": "medprotect.bundle.transforms.AddNoised",
        "keys": "pred",
        "folder": "@bundle_root",
        "key_file": "@key_file",
        "strength": "@strength",
        "keep_uids": "@keep_uids",
        "along_z": "@along_z",
    }


def _inferer() -> Config:
    return {
        "_target_": "medprotect.bundle.inferer.NoiseInferer",
        "key_file": "@key_file",
        "along_z": "@along_z",
    }


def _weights_loader() -> Config:
    return {
        "_target_": "medprotect.bundle.inferer.WeightsLoader",
        "network": "@network",
        "folder": "@bundle_root",
    }


if __name__ == "__main__":
    for _folder in sys.argv[1:]:
        write_bundle_files(Path(_folder))
