"""Adversarial training."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from medprotect.audit.countermeasures.countermeasure import Countermeasure


class AdversarialTraining(Countermeasure):
    """The victim learns from the worst that bounded noise makes of each image.

    A. Madry, A. Makelov, L. Schmidt, D. Tsipras, A. Vladu. *Towards deep learning models resistant
    to adversarial attacks.* ICLR 2018, arXiv:1706.06083: projected gradient descent, here in 10
    steps (PGD-10). Against noise like ours: L. Tao et al. *Better safe than sorry: preventing
    delusive adversaries with adversarial training.* NeurIPS 2021, arXiv:2102.04716.

    Parameters
    ----------
    bound_lsb, step_lsb : float
        Largest noise, and a step towards it, of 255.
    steps : int
        Of descent, for each batch.
    """

    name = "adversarial-training"

    def __init__(self, bound_lsb: float = 8.0, step_lsb: float = 2.0, steps: int = 10) -> None:
        self.bound = bound_lsb / 255
        self.step = step_lsb / 255
        self.steps = steps

    def loss(
        self, network: nn.Module, images: Tensor, labels: Tensor, rng: torch.Generator
    ) -> Tensor:
        """Return the loss of the images with the noise that raises it most."""
        return functional.cross_entropy(network(self.attack(network, images, labels, rng)), labels)

    def attack(
        self, network: nn.Module, images: Tensor, labels: Tensor, rng: torch.Generator
    ) -> Tensor:
        """Return the images with that noise, within their range."""
        training = network.training
        network.eval()  # the statistics of batch normalisation are not to follow the attempts
        lowest, highest = images - self.bound, images + self.bound
        start = self.bound * (2 * torch.rand(images.shape, generator=rng) - 1)
        attacked = (images + start.to(images.device)).clamp(-0.5, 0.5)
        for _ in range(self.steps):
            attacked.requires_grad_()
            loss = functional.cross_entropy(network(attacked), labels)
            (gradient,) = torch.autograd.grad(loss, attacked)
            attacked = attacked.detach() + self.step * gradient.sign()
            attacked = attacked.clamp(lowest, highest).clamp(-0.5, 0.5)
        network.train(training)
        return attacked
