"""Beginning a training from a pipeline that is there: what it knows of images is taken over.

What is shipped is public, so an owner's noise must not be it: the generator begins anew.
"""

from medprotect.confounder.card import Card
from medprotect.confounder.networks import Assigner
from medprotect.confounder.noise import NoiseNetwork, fill, network_arguments
from medprotect.errors import ConfigError

ASSIGNER_STEPS = 600
"""Of each classifier on clean images, where the assigner begins from another."""


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
            f"{kinds[channels]}; begin from another, or from none."
        )
    network = NoiseNetwork(**network_arguments(card))
    fill(network, card)
    return network


def begin_from(start: NoiseNetwork, assigner: Assigner) -> None:
    """Take over, in place, what an assigner has learnt to see; with other classes, all but those.

    The generator is not taken over. One that was trained on from a public one kept much of its
    noise, and was read later: its second training added to the first (see the decision on short
    trainings). Begun anew from the owner's seed it is nobody else's.
    """
    own, learnt = assigner.state_dict(), start.assigner.state_dict()
    kept = {name for name in own if own[name].shape != learnt[name].shape}
    assigner.load_state_dict({name: own[name] if name in kept else learnt[name] for name in own})
