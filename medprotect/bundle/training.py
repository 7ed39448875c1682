"""The training of `medprotect train` as a bundle's trainer."""

import logging
from pathlib import Path

from medprotect.confounder.card import Card
from medprotect.training.curves import EVERY
from medprotect.training.ranks import rank
from medprotect.training.recipe import TRIES
from medprotect.training.training import train_pipeline

logger = logging.getLogger(__name__)


class ConfounderTrainer:
    """Trains a pipeline; `run` is `medprotect.training.training.train_pipeline`.

    Parameters
    ----------
    images, labels_csv, out, modality, clusters, steps, seed, tries, decoys, strength, size
        As `train_pipeline` takes them.
    max_epochs : int
        1: the whole training, of `steps` steps, is one epoch.
    """

    def __init__(
        self,
        images: str,
        labels_csv: str,
        out: str,
        modality: str,
        *,
        steps: int,
        seed: int,
        size: int,
        clusters: int | None = None,
        tries: int = TRIES,
        decoys: bool = False,
        strength: str = "standard",
        max_epochs: int = 1,
    ) -> None:
        self.max_epochs = max_epochs
        self._paths = (Path(images), Path(labels_csv), Path(out))
        self._modality, self._steps = modality, steps
        self._seed, self._tries = seed, tries
        self._decoys, self._size, self._clusters = decoys, size, clusters
        self._strength = strength

    def run(self) -> Card:
        """Train, and return the card of the new pipeline."""
        return train_pipeline(
            *self._paths,
            modality=self._modality,
            clusters=self._clusters,
            steps=self._steps,
            seed=self._seed,
            tries=self._tries,
            decoys=self._decoys,
            strength=self._strength,
            size=self._size,
            command="python -m monai.bundle run --config_file configs/train.json",
            progress=_log if rank() == 0 else None,
        )


def _log(stage: str, step: int, steps: int, figures: dict[str, float]) -> None:
    if step % EVERY and step != steps:
        return
    shown = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
    logger.info("%s %d/%d  %s", stage, step, steps, shown)
