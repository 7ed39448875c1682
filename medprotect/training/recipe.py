"""How a generator is trained: what can be chosen, and what is chosen where nothing is said."""

from dataclasses import dataclass

from medprotect.confounder.card import Widths

STEPS = 600
"""Of the generator. In three times as many its readers learn with it to read what a victim, which
begins anew, reads less well: on BloodMNIST one kept 0.57 instead of 0.47 at its best moment."""

ASSIGNER_STEPS = 1200
SEED = 1
TRIES = 3
"""How well a generator protects is a matter of luck, which a few victims can tell early."""

WIDTHS = Widths(generator=16, assigner=16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a generator is trained; see each shipped pipeline's README for its own.

    Attributes
    ----------
    steps, batch : int
        Of the generator, and images a step.
    assigner_steps, assigner_batch : int
        Of each classifier on clean images.
    seed : int
        Of all that is drawn.
    decoys : bool
        Whether a wrong class is shown to models trained on clean images. Without, they are to see
        what they see in clean images.
    mirrored : bool
        Whether a mirrored image is as good an image of its class.
    widths : Widths
        Of generator and assigner.
    decoy_weight, utility_weight, fidelity_weight : float
        Of the terms, the confounder's being 1.
    distorted : float
        Chance of a distortion besides flip and crop: noise that outlasts them is read later.
    tries : int
        Generators begun, each from a seed of its own; the best by its trial is trained to the end.
    strength : str
        That it is trained for, one of `medprotect.intensity.budget.STRENGTHS`.
    gain : float
        At which the noise is given when it is trained; see `medprotect.confounder.card.Noise`.
    """

    steps: int = STEPS
    assigner_steps: int = ASSIGNER_STEPS
    assigner_batch: int = 96
    batch: int = 48
    seed: int = SEED
    decoys: bool = False
    mirrored: bool = False
    widths: Widths = WIDTHS
    decoy_weight: float = 1.0
    utility_weight: float = 3.0
    fidelity_weight: float = 0.002
    distorted: float = 0.0
    tries: int = 1
    strength: str = "standard"
    gain: float = 8.0
