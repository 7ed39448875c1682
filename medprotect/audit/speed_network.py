"""How long the networks of a pipeline take for an image, on one thread."""

from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch

from medprotect.audit.speed_row import Row
from medprotect.confounder.card import load_card
from medprotect.confounder.key import Key
from medprotect.confounder.networks import channels_last
from medprotect.confounder.noise import NoiseNetwork, fill, key_noise, network_arguments

SIDES = (512, 2048)
_IMAGES = 5


def measure_network(pipeline: str, key: Key, repeats: int) -> list[Row]:
    """Measure generator and assigner at the canonical grid, in two layouts and of two matrices."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        card = load_card(pipeline)
        plain, other = (NoiseNetwork(**network_arguments(card)) for _ in range(2))
        for network in (plain, other):
            fill(network, card)
            network.eval()
        channels_last(other)
        _generator_milliseconds(plain)
        _generator_milliseconds(other)
        turns = [
            (
                *(_milliseconds(plain, key, side) for side in SIDES),
                *(_generator_milliseconds(network) for network in (plain, other)),
            )
            for _ in range(repeats)
        ]
    finally:
        torch.set_num_threads(threads)
    grid = f"{card.images.canonical_size} x {card.images.canonical_size}"
    ratios = [large / small for small, large, *_ in turns]
    eager, last = ([turn[at] for turn in turns] for at in (2, 3))
    return [
        Row("b", f"networks, matrix of {SIDES[1]} / of {SIDES[0]}", "x", ratios, most=1.3),
        Row("d", f"generator at {grid}, one thread, as it runs", "ms", eager, most=15),
        Row("d", f"generator at {grid}, one thread, channels last", "ms", last),
    ]


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


@torch.inference_mode()
def _generator_milliseconds(network: NoiseNetwork) -> float:
    side = network.canonical_size
    presented = torch.full((1, network.channels, side, side), 0.5)
    code = torch.full((1, network.codes), 1 / network.codes)
    times = []
    for _ in range(_IMAGES):
        began = perf_counter()
        network.generator(presented, code, torch.zeros_like(code))
        times.append(perf_counter() - began)
    return 1000 * median(times)
