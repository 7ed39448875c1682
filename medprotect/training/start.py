"""Beginning a training from a pipeline that is there: minutes instead of half an hour.

What is shipped is public, so an owner's noise must not be it: textures are drawn anew, and codes
change places, before training goes on.
"""

import torch
from torch import Tensor, nn

from medprotect.confounder.card import UNET, Card
from medprotect.confounder.networks import Assigner, Generator
from medprotect.confounder.noise import NoiseNetwork, fill, network_arguments
from medprotect.errors import ConfigError

STEPS = 300
"""Of the generator, where it begins from another."""

_TEXTURE, _MESSAGE, _LEAVE = "texture", "message.0.weight", "leave."


def load_start(card: Card, channels: int) -> NoiseNetwork:
    """Return the networks of a pipeline, hash-checked.

    Parameters
    ----------
    card : Card
        Of the pipeline to begin from.
    channels : int
        Of the images to train on.

    Raises
    ------
    ConfigError
        The pipeline is for other images.
    HashMismatchError, PipelineError
        The weights are missing, or not those of the card.
    """
    if card.images.channels != channels:
        kinds = {1: "grey", 3: "colour"}
        raise ConfigError(
            f"The pipeline {card.name} is for {kinds[card.images.channels]} images, and these are "
            f"{kinds[channels]}. Name another pipeline for --from, or leave it out."
        )
    if card.noise.carrier != UNET:
        raise ConfigError(
            f"The pipeline {card.name} has no generator that learned. Name another for --from, or "
            "leave it out."
        )
    network = NoiseNetwork(**network_arguments(card))
    fill(network, card)
    return network


def begin_from(start: NoiseNetwork, generator: Generator, assigner: Assigner) -> None:
    """Take over what was learnt, in place; all that is drawn comes from torch's randomness.

    Textures stay as they were drawn for this training, and each code takes the place of another.
    With other classes, what belongs to a class stays as it is, too.
    """
    learnt = start.generator.state_dict()
    kept = {_TEXTURE}
    if learnt[_MESSAGE].shape == generator.state_dict()[_MESSAGE].shape:
        learnt[_MESSAGE] = _change_places(learnt[_MESSAGE])
        _take_over(assigner, start.assigner.state_dict(), set())
    else:
        kept.add(_MESSAGE)
        others = {name for name in assigner.state_dict() if name.startswith(_LEAVE)}
        _take_over(assigner, start.assigner.state_dict(), others)
    _take_over(generator, learnt, kept)


def _take_over(network: nn.Module, learnt: dict[str, Tensor], kept: set[str]) -> None:
    own = network.state_dict()
    network.load_state_dict({name: own[name] if name in kept else learnt[name] for name in own})


def _change_places(message: Tensor) -> Tensor:
    """Return weights (4w, 2K) with the K codes, and likewise the K decoys, in another order."""
    codes, decoys = message.chunk(2, 1)
    order = torch.randperm(codes.shape[1])
    return torch.cat([codes[:, order], decoys[:, order]], 1)
