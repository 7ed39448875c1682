"""How long the networks of a pipeline take for an image, on one thread."""

from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch

from medprotect.bench.speed.row import Row
from medprotect.confounder.card import load_card
from medprotect.confounder.key import Key
from medprotect.confounder.noise import NoiseNetwork, fill, key_noise, network_arguments

SIDES = (512, 2048)
_IMAGES = 5


def measure_network(pipeline: str, key: Key, repeats: int) -> list[Row]:
    """Measure generator and assigner together, for images of two matrices."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        card = load_card(pipeline)
        network = NoiseNetwork(**network_arguments(card))
        fill(network, card)
        network.eval()
        turns = [[_milliseconds(network, key, side) for side in SIDES] for _ in range(repeats)]
    finally:
        torch.set_num_threads(threads)
    ratios = [large / small for small, large in turns]
    return [Row("b", f"networks, matrix of {SIDES[1]} / of {SIDES[0]}", "x", ratios, most=1.3)]


def _milliseconds(network: NoiseNetwork, key: Key, side: int) -> float:
    """Return the time within both networks for an image of so many rows and columns."""
    presented = np.random.default_rng(0).random((side, side, 1), dtype=np.float32)
    presented = np.repeat(presented, network.channels, axis=2)
    spent: list[float] = []

    def count(*_: Any) -> None:
        spent.append(perf_counter())

    modules = network.generator, network.assigner
    handles = [module.register_forward_pre_hook(count) for module in modules]
    handles += [module.register_forward_hook(count) for module in modules]
    times = []
    for _ in range(_IMAGES):
        spent.clear()
        key_noise(network, key, presented, bytes(32))
        times.append(sum(spent[1::2]) - sum(spent[::2]))
    for handle in handles:
        handle.remove()
    return 1000 * median(times)
