"""What a victim was at some moments of its training, and how that is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medprotect.audit.protection import Predicted


@dataclass(frozen=True, slots=True)
class Few:
    """What a few clean images are to a victim at one moment.

    Attributes
    ----------
    features, tested : Tensor
        What enters its last layer: of the few (n, F) and of the test images (N, F).
    predicted : NDArray of int64
        The classes (n,) that it gives the few.
    """

    features: Tensor
    tested: Tensor
    predicted: Predicted


@dataclass(frozen=True, slots=True)
class Moment:
    """What a victim was after some steps.

    Attributes
    ----------
    step : int
        Steps that were done.
    train, held, validation, renamed : float
        Balanced accuracies: on the last batch, on the images of the set that were held out, on
        clean validation images, and on these with the outputs renamed one to one, as fits them
        best.
    order : NDArray of int64
        (classes,), that renaming.
    predicted : NDArray of int64
        (N,), the classes given to the clean test images.
    few : Few, optional
        Of the clean images that the attacker has, where there are any.
    balanced : NDArray of int64, optional
        As `predicted`, once each class is given as often as the set holds it. Trainings that
        earlier versions kept have none.
    """

    step: int
    train: float
    held: float
    validation: float
    renamed: float
    order: Predicted
    predicted: Predicted
    few: Few | None = None
    balanced: Predicted | None = None


_SCORES = ("train", "held", "validation", "renamed")


def pack_moments(moments: Sequence[Moment]) -> dict[str, Tensor]:
    """Return moments as tensors by name; none where there are none."""
    if not moments:
        return {}
    few = [moment.few for moment in moments if moment.few is not None]
    balanced = [moment.balanced for moment in moments if moment.balanced is not None]
    of_few = {
        "few_features": [each.features for each in few],
        "few_tested": [each.tested for each in few],
        "few_predicted": [torch.from_numpy(each.predicted) for each in few],
    }
    scores = [[getattr(moment, name) for name in _SCORES] for moment in moments]
    return {
        "steps": torch.tensor([moment.step for moment in moments]),
        "scores": torch.tensor(scores, dtype=torch.float64),
        "orders": torch.from_numpy(np.stack([moment.order for moment in moments])),
        "predicted": torch.from_numpy(np.stack([moment.predicted for moment in moments])),
        **({"balanced": torch.from_numpy(np.stack(balanced))} if balanced else {}),
        **{name: torch.stack(each) for name, each in of_few.items() if each},
    }


def unpack_moments(tensors: Mapping[str, Tensor]) -> list[Moment]:
    """Return the moments that `pack_moments` packed."""
    if not tensors:
        return []
    few: list[Few | None] = [None] * len(tensors["steps"])
    balanced: list[Predicted | None] = [None] * len(tensors["steps"])
    if "balanced" in tensors:
        balanced = [each.numpy() for each in tensors["balanced"]]
    if "few_features" in tensors:
        few = [
            Few(features, tested, predicted.numpy())
            for features, tested, predicted in zip(
                *(tensors[f"few_{name}"] for name in ("features", "tested", "predicted")),
                strict=True,
            )
        ]
    return [
        Moment(
            step=int(step),
            **dict(zip(_SCORES, scores.tolist(), strict=True)),
            order=order.numpy(),
            predicted=predicted.numpy(),
            few=of_few,
            balanced=of_balanced,
        )
        for step, scores, order, predicted, of_few, of_balanced in zip(
            tensors["steps"],
            tensors["scores"],
            tensors["orders"],
            tensors["predicted"],
            few,
            balanced,
            strict=True,
        )
    ]
