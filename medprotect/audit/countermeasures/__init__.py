"""What attackers do so that the noise is not learned, by name."""

from collections.abc import Callable
from functools import partial

from medprotect.audit.countermeasures.adversarial_training import AdversarialTraining
from medprotect.audit.countermeasures.autoencoder import Autoencoder
from medprotect.audit.countermeasures.bilateral import Bilateral
from medprotect.audit.countermeasures.blur import Blur
from medprotect.audit.countermeasures.countermeasure import Countermeasure
from medprotect.audit.countermeasures.cutmix import CutMix
from medprotect.audit.countermeasures.cutout import Cutout
from medprotect.audit.countermeasures.diffusion import Diffusion
from medprotect.audit.countermeasures.grey import Grey
from medprotect.audit.countermeasures.half_size import HalfSize
from medprotect.audit.countermeasures.inverse import Inverse
from medprotect.audit.countermeasures.jpeg import Jpeg
from medprotect.audit.countermeasures.median import Median
from medprotect.audit.countermeasures.mixup import Mixup
from medprotect.audit.countermeasures.non_local_means import NonLocalMeans
from medprotect.audit.countermeasures.orthogonal_projection import OrthogonalProjection
from medprotect.audit.countermeasures.posterise import Posterise
from medprotect.audit.countermeasures.ueraser import UEraser
from medprotect.audit.countermeasures.window import Window

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
    # in training
    "cutout": Cutout,
    "mixup": Mixup,
    "cutmix": CutMix,
    "ueraser": UEraser,
    "adversarial-training": AdversarialTraining,
    # fitted to what the attacker has
    "orthogonal-projection": OrthogonalProjection,
    "autoencoder": Autoencoder,
    "diffusion": Diffusion,
    "inverse": Inverse,
}
"""Made anew for each victim: some learn from what it is trained on."""
