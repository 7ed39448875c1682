"""The networks of training."""

import torch

from medprotect.confounder.networks import Assigner, channels_last


def test_a_narrow_network_learns_from_images_of_128_pixels() -> None:
    # PyTorch 2.13 writes gradients of a strided 1 x 1 convolution of so few features past its
    # memory.
    network = channels_last(Assigner(1, 4, 8))
    images = torch.rand(16, 1, 128, 128).contiguous(memory_format=torch.channels_last)
    for _ in range(2):
        network(images).square().sum().backward()
    gradients = [each.grad for each in network.parameters()]
    assert all(each is not None and each.isfinite().all() for each in gradients)
