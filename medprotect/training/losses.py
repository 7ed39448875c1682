"""The terms that train the generator, and the discriminator's own.

Codes and decoys are distributions over K: a one-hot label, or the assigner's posterior.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def confounder_loss(logits: Tensor, code: Tensor) -> Tensor:
    """Low where the confounder classifier reads the code from the noise on *another* image.

    N -> Y of ConfounderGAN (Tian et al., NeurIPS 2022).

    Parameters
    ----------
    logits : Tensor
        (B, K), of the confounder classifier.
    code : Tensor
        (B, K), what the noise is to say.
    """
    return functional.cross_entropy(logits, code)


def share_told(loss: Tensor, code: Tensor) -> float:
    """Return the share of what a batch of codes tells that was read: 1 all, 0 or less nothing.

    Parameters
    ----------
    loss : Tensor
        (), the `confounder_loss` of the batch.
    code : Tensor
        (B, K).
    """
    blind = torch.special.entr(code.mean(0)).sum()  # the loss where only the mean is known
    told = blind - torch.special.entr(code).sum(1).mean()
    return float((blind - loss) / told.clamp(min=1e-3))


def decoy_loss(logits: Sequence[Tensor], decoy: Tensor) -> Tensor:
    """Low where classifiers trained on clean images see the decoy in the protected image.

    Parameters
    ----------
    logits : sequence of Tensor
        (B, K) of each frozen classifier.
    decoy : Tensor
        (B, K), a wrong class drawn per image.
    """
    losses = [functional.cross_entropy(each, decoy) for each in logits]
    return sum(losses[1:], losses[0]) / len(losses)


def utility_loss(logits: Sequence[Tensor], clean: Sequence[Tensor]) -> Tensor:
    """Low where classifiers trained on clean images see in a protected one what they saw without.

    The divergence of Kullback and Leibler from what they say of the clean image, mean of them.

    Parameters
    ----------
    logits, clean : sequence of Tensor
        (B, K) of each frozen classifier: of the protected images, and of the same in clear.
    """
    losses = [
        functional.kl_div(
            seen.log_softmax(1), known.log_softmax(1), log_target=True, reduction="batchmean"
        )
        for seen, known in zip(logits, clean, strict=True)
    ]
    return sum(losses[1:], losses[0]) / len(losses)


def fidelity_loss(scores: Tensor) -> Tensor:
    """Low where the discriminator takes protected patches for untouched ones.

    The non-saturating loss of Goodfellow et al., NeurIPS 2014.
    """
    return functional.softplus(-scores).mean()


def discriminator_loss(untouched: Tensor, protected: Tensor) -> Tensor:
    """Low where the discriminator tells untouched patches from protected ones."""
    return functional.softplus(-untouched).mean() + functional.softplus(protected).mean()
