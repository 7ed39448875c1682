"""What attackers do so that the noise is not learned, by name."""

from collections.abc import Callable
from functools import partial

from medprotect.audit.attack.after_training import WeightNoise
from medprotect.audit.attack.before_training import (
    Background,
    Bilateral,
    Blur,
    Grey,
    HalfSize,
    Jpeg,
    Median,
    NonLocalMeans,
    Normalise,
    Posterise,
    Window,
)
from medprotect.audit.attack.countermeasure import Countermeasure
from medprotect.audit.attack.fitted import Autoencoder, Diffusion, Inverse, OrthogonalProjection
from medprotect.audit.attack.in_training import (
    AdversarialTraining,
    CutMix,
    Cutout,
    Mixup,
    UEraser,
    Warps,
)

COUNTERMEASURES: dict[str, Callable[[], Countermeasure]] = {
    "none": Countermeasure,
    # before training
    "blur-0.5": partial(Blur, 0.5),
    "blur-1": partial(Blur, 1),
    "blur-1.5": partial(Blur, 1.5),
    "jpeg-75": partial(Jpeg, 75),
    "jpeg-50": partial(Jpeg, 50),
    "jpeg-10": partial(Jpeg, 10),
    "grey": Grey,
    "posterise-2": partial(Posterise, 2),
    "half-size": HalfSize,
    "median": Median,
    "bilateral": Bilateral,
    "non-local-means": NonLocalMeans,
    "window": Window,
    "normalise": Normalise,
    "background": Background,
    # in training
    "cutout": Cutout,
    "mixup": Mixup,
    "cutmix": CutMix,
    "ueraser": UEraser,
    "warps": Warps,
    "adversarial-training": AdversarialTraining,
    # after training
    "weight-noise": WeightNoise,
    # fitted to what the attacker has
    "orthogonal-projection": OrthogonalProjection,
    "autoencoder": Autoencoder,
    "diffusion": Diffusion,
    "inverse": Inverse,
}
"""Made anew for each victim: some learn from what it is trained on."""
