"""Codes and decoys: what the noise says, and which wrong class it shows; and where textures begin.

The first two are distributions over the K classes.
"""

import hashlib
import hmac

import torch
from torch import Tensor
from torch.nn import functional

from medprotect.confounder.grain import SLOTS_FOR_TWO
from medprotect.confounder.key import Key
from medprotect.confounder.networks import PERIOD
from medprotect.confounder.slots import SLOT_COUNT

NEAR = 3
"""Among how many wrong classes a decoy is drawn."""

KNOWN = 0.3
"""Share of the codes in training that are labels."""

SOFTENED = 0.3
"""Factor on the logits of half of the others."""


def draw_codes(logits: Tensor, labels: Tensor, rng: torch.Generator) -> Tensor:
    """Draw codes (B, K): an image's one-hot label, its posterior, or its posterior softened.

    So codes are as hard and as soft as those of a run, with labels and without: a classifier is
    surer of the images it learned from than of any that it will be shown.

    Parameters
    ----------
    logits : Tensor
        (B, K), of the assigner, calibrated.
    labels : Tensor
        (B,), the classes.
    rng : Generator
        Draws.
    """
    known = functional.one_hot(labels, logits.shape[1]).float()
    chosen, soft = torch.rand((2, len(labels), 1), generator=rng)
    posteriors = functional.softmax(torch.where(soft < 0.5, SOFTENED * logits, logits), 1)
    return torch.where(chosen < KNOWN, known, posteriors)


def draw_decoys(logits: Tensor, labels: Tensor, rng: torch.Generator) -> Tensor:
    """Draw decoys (B, K): one of the wrong classes that a classifier finds likeliest.

    Noise within the budget can make an image look like a class that is near; of those near, the
    draw decides, because a fixed one could be undone by renaming.

    Parameters
    ----------
    logits : Tensor
        (B, K), of a classifier trained on clean images.
    labels : Tensor
        (B,), the classes that are never drawn.
    rng : Generator
        Draws.
    """
    codes = logits.shape[1]
    near = _near(logits, labels)
    rank = torch.randint(near.shape[1], (len(labels), 1), generator=rng)
    return functional.one_hot(near.gather(1, rank)[:, 0], codes).float()


def key_decoy(key: Key, content_sha256: bytes, posterior: Tensor, shown: Tensor) -> Tensor:
    """Return the decoy (1, K) of one image, drawn by the key among the near wrong classes.

    Parameters
    ----------
    key : Key
        The owner's.
    content_sha256 : bytes
        Of the image's stored values.
    posterior : Tensor
        (1, K), of the assigner.
    shown : Tensor
        (1,), the class that the image shows, which is never drawn.
    """
    digest = hmac.new(key.subkey("decoys"), content_sha256, hashlib.sha256).digest()
    near = _near(posterior, shown)
    rank = int.from_bytes(digest[:8], "big") % near.shape[1]
    return functional.one_hot(near[:, rank], posterior.shape[1]).float()


def _near(scores: Tensor, excluded: Tensor) -> Tensor:
    """Return the classes (B, up to 3) of highest score besides the excluded one."""
    others = scores.scatter(1, excluded[:, None], -torch.inf)
    return others.topk(min(NEAR, scores.shape[1] - 1), 1).indices


def key_phase(key: Key) -> tuple[int, int]:
    """Return where the owner's textures begin: rows and columns, each below `PERIOD`."""
    return _phase(key.subkey("codes"))


def slice_phase(key: Key, content_sha256: bytes) -> tuple[int, int]:
    """Return where the textures of one slice begin, drawn by the key; as `key_phase`.

    Parameters
    ----------
    key : Key
        The owner's.
    content_sha256 : bytes
        Of the slice's stored values: no name, place or order has a say in it.
    """
    return _phase(hmac.new(key.subkey("phases"), content_sha256, hashlib.sha256).digest())


def key_slots(key: Key, classes: int) -> list[int]:
    """Return which code of grain each class gets: those that are far apart, in the key's order."""
    first = SLOTS_FOR_TWO if SLOTS_FOR_TWO < classes <= SLOT_COUNT - SLOTS_FOR_TWO else 0
    secret = key.subkey("slots")

    def rank(slot: int) -> bytes:
        return hmac.new(secret, f"{slot} of {classes}".encode(), hashlib.sha256).digest()

    return sorted(range(first, first + classes), key=rank)


def key_seed(key: Key, content_sha256: bytes) -> int:
    """Return what draws the grain of an image by key and content, 0 to 2**63 - 1."""
    digest = hmac.new(key.subkey("grain"), content_sha256, hashlib.sha256).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _phase(drawn: bytes) -> tuple[int, int]:
    return drawn[0] % PERIOD, drawn[1] % PERIOD
