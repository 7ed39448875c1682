"""Writing a trained pipeline as a folder: card, weights, README."""

import hashlib
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from medprotect.confounder.card import (
    CARD,
    WEIGHTS,
    Card,
    Codes,
    Images,
    Noise,
    Training,
    Weights,
    format_card,
    load_card,
)
from medprotect.confounder.noise import ASSIGNER, GENERATOR
from medprotect.confounder.weights import save_tensors, write_private
from medprotect.intensity.budget import STRENGTHS, name_strength
from medprotect.training.gan import Trained
from medprotect.training.recipe import Recipe

README = "docs/README.md"
_SOURCES = {"labels": "Classes", "clusters": "Clusters, found without labels"}


def export(
    trained: Trained,
    recipe: Recipe,
    out: Path,
    *,
    name: str,
    title: str,
    images: Images,
    codes: Codes,
    training: Training,
) -> Card:
    """Write a pipeline, readable by its owner alone, and return its card.

    Parameters
    ----------
    trained : Trained
        Its networks go out in half precision.
    out : Path
        Folder of the pipeline.
    name, title : str
        For the card.
    images : Images
        Which images it protects.
    codes : Codes
        What they are; decoys and temperature are taken from the training.
    training : Training
        How it came to be; strength, steps, seed and tries are taken from the recipe.
    """
    networks = {GENERATOR: trained.generator, ASSIGNER: trained.assigner}
    tensors = {
        prefix + key: _halve(tensor)
        for prefix, network in networks.items()
        for key, tensor in network.state_dict().items()
    }
    data = save_tensors(out / WEIGHTS, tensors)
    card = Card(
        name=name,
        title=title,
        version="1",
        images=images,
        codes=replace(codes, decoys=recipe.decoys, temperature=trained.temperature),
        widths=recipe.widths,
        noise=Noise(gain=recipe.gain),
        training=replace(
            training,
            strength=STRENGTHS[recipe.strength] / 255,
            steps=recipe.steps,
            seed=recipe.seed,
            tries=recipe.tries,
        ),
        weights=Weights(sha256=hashlib.sha256(data).hexdigest()),
        figures={key: round(value, 4) for key, value in trained.figures.items()},
    )
    write_private(out / CARD, format_card(card).encode())
    write_private(out / README, _readme(card).encode())
    return load_card(out)


def _halve(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float16) if tensor.is_floating_point() else tensor


def _readme(card: Card) -> str:
    strength = name_strength(card.training.strength)
    decoys = "on: not for AI-assisted diagnosis" if card.codes.decoys else "off"
    return f"""# {card.title}

- Protects: modality {_words(card.images.modalities)}, {_words(card.images.photometrics)}
- Trained on: {card.training.data}, {card.training.images} images, {card.training.steps} steps
- Trained for: strength {strength}
- {_SOURCES[card.codes.source]}: {_words(card.codes.classes)}
- Decoys: {decoys}
- Made by: `{card.training.command}` on {card.training.date}

These weights are as secret as the key: with them an attacker can learn to take the noise off.
"""


def _words(names: tuple[str, ...]) -> str:
    return ", ".join(name or "(none stated)" for name in names)
