"""Codes and decoys: what the noise says, and which wrong class it shows.

Both are distributions over the K classes. In training the code is drawn whatever the image: it is
a message, and the key may order the codes as it likes.
"""

import hashlib
import hmac

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from medprotect.confounder.key import Key


def draw_codes(batch: int, codes: int, rng: torch.Generator) -> Tensor:
    """Draw codes (B, K), a third of them soft: the generator must say posteriors too."""
    first = torch.randint(codes, (batch,), generator=rng)
    return _mix(first, codes, rng)


def draw_decoys(labels: Tensor, codes: int, rng: torch.Generator) -> Tensor:
    """Draw decoys (B, K) whose first class is never that of the image."""
    turn = torch.randint(1, codes, (len(labels),), generator=rng)
    return _mix((labels + turn) % codes, codes, rng)


def key_order(key: Key, codes: int) -> NDArray[np.int64]:
    """Return the owner's order of the codes: class k is said by code ``order[k]``."""
    digests = [
        hmac.new(key.subkey("codes"), code.to_bytes(4, "big"), hashlib.sha256).digest()
        for code in range(codes)
    ]
    return np.array(sorted(range(codes), key=digests.__getitem__), dtype=np.int64)


def key_turn(key: Key, content_sha256: bytes, codes: int) -> int:
    """Return by how many classes, 1 .. K - 1, the decoy of one image is off its class."""
    digest = hmac.new(key.subkey("decoys"), content_sha256, hashlib.sha256).digest()
    return 1 + int.from_bytes(digest[:8], "big") % (codes - 1)


def _mix(first: Tensor, codes: int, rng: torch.Generator) -> Tensor:
    second = torch.randint(codes, first.shape, generator=rng)
    share = 0.5 + 0.5 * torch.rand(first.shape, generator=rng)
    hard = torch.rand(first.shape, generator=rng) < 2 / 3
    share = torch.where(hard, torch.ones_like(share), share)[:, None]
    one = functional.one_hot(first, codes)
    return share * one + (1 - share) * functional.one_hot(second, codes)
