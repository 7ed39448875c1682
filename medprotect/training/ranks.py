"""Training by several processes: each draws batches of its own, and all take the same step.

The processes are started by ``torchrun``, and find each other by ``torch.distributed``. In a
process that stands alone nothing here changes anything, bit for bit.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, distributed, nn

from medprotect.errors import ConfigError


def ranks() -> int:
    """Return how many processes train together."""
    return distributed.get_world_size() if _are_joined() else 1


def rank() -> int:
    """Return the number of this process among them, from 0; 0 alone writes files."""
    return distributed.get_rank() if _are_joined() else 0


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every rank the mean of the gradients of all, in place; those without one keep none."""
    _average([each.grad for each in parameters if each.grad is not None])


@torch.no_grad()
def average_statistics(network: nn.Module) -> None:
    """Give every rank the mean of the running statistics of batch normalisation."""
    _average([each for each in network.buffers() if each.is_floating_point()])


def average_figures(figures: dict[str, float]) -> dict[str, float]:
    """Return the mean over the ranks of figures that have the same names everywhere."""
    if ranks() == 1:
        return figures
    values = torch.tensor(list(figures.values()), dtype=torch.float64)
    _average([values])
    return dict(zip(figures, values.tolist(), strict=True))


def agree(decision: bool) -> bool:
    """Return what the first rank decided, so that all do the same."""
    if ranks() == 1:
        return decision
    told = torch.tensor(int(decision))
    distributed.broadcast(told, 0)
    return bool(told)


def check_agreement(step: int) -> None:
    """Make sure that all ranks go on from the same step.

    Raises
    ------
    ConfigError
        They do not: they see other checkpoints.
    """
    mean = average_figures({"step": float(step)})["step"]
    if mean != step:
        raise ConfigError(
            "The processes see different checkpoints. Give all of them the same folder."
        )


def wait() -> None:
    """Wait until every rank is here."""
    if ranks() > 1:
        distributed.barrier()


def _are_joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _average(tensors: list[Tensor]) -> None:
    if ranks() == 1 or not tensors:
        return
    together = torch.cat([each.reshape(-1) for each in tensors])
    distributed.all_reduce(together)
    together /= ranks()
    parts = together.split([each.numel() for each in tensors])
    for each, part in zip(tensors, parts, strict=True):
        each.copy_(part.view(each.shape))
