"""What else could compute the generator: how long it takes, and whether it gives the same bytes.

A run uses PyTorch as it comes: see ``docs/adr/0015-one-engine.md``. ONNX Runtime and OpenVINO are
measured where they are installed; nothing else needs them.
"""

import importlib
import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medprotect.bench.speed.row import Row
from medprotect.confounder.card import Card, load_card
from medprotect.confounder.codes import key_phase
from medprotect.confounder.key import Key
from medprotect.confounder.networks import channels_last
from medprotect.confounder.noise import NoiseNetwork, fill, key_noise, network_arguments
from medprotect.protect.protectable import Protectable, add_noise, read_protectable

_MOST_MILLISECONDS = 15
_CALLS = 20
_SLICES = 3

Inputs = tuple[Tensor, Tensor, Tensor]
"""Image, code and decoy, as the generator takes them."""


class Engine(nn.Module):
    """Something in place of a generator, whose textures begin where one key has them begin.

    Parameters
    ----------
    compute : callable
        Image, code and decoy to noise.
    """

    def __init__(self, compute: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self._compute = [compute]  # in a list, so that it is no part of this module

    def forward(
        self, image: Tensor, code: Tensor, decoy: Tensor, _phase: Any = None, _gain: Any = None
    ) -> Tensor:
        """Return the noise."""
        return self._compute[0](image, code, decoy)


class _AtPhase(nn.Module):
    def __init__(self, network: NoiseNetwork, phase: tuple[int, int]) -> None:
        super().__init__()
        self.generator, self.gain, self.phase = network.generator, network.gain, phase

    def forward(self, image: Tensor, code: Tensor, decoy: Tensor) -> Tensor:
        """Return the noise."""
        noise: Tensor = self.generator(image, code, decoy, self.phase, self.gain)
        return noise


def measure_engines(
    pipeline: str, key: Key, export: Path, repeats: int, say: Callable[[str], None]
) -> list[Row]:
    """Measure the generator in each engine, in turns on one thread, and compare what is stored.

    Parameters
    ----------
    pipeline : str
        Name of a pipeline.
    key : Key
        Any.
    export : Path
        Slices to protect.
    repeats : int
        How often.
    say : callable
        Told what is being measured.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        card = load_card(pipeline)
        inputs = _inputs(card)
        engines = {}
        for name, make in _MAKERS.items():
            say(f"generator, {name}")
            with _quiet():
                made = make(_AtPhase(_network(card), key_phase(key)).eval(), inputs)
            if made is not None:
                engines[name] = made
        turns = [
            {name: _milliseconds(engine, inputs) for name, engine in engines.items()}
            for _ in range(repeats)
        ]
        different = _compare(card, key, export, engines)
    finally:
        torch.set_num_threads(threads)
    return _rows(card, turns, different)


def _rows(
    card: Card, turns: list[dict[str, float]], different: dict[str, list[float]]
) -> list[Row]:
    side = card.images.canonical_size
    eager, *others = turns[0]
    what = f"generator at {side} x {side}, one thread"
    times = [turn[eager] for turn in turns]
    rows = [Row("d", f"{what}, {eager}", "ms", times, most=_MOST_MILLISECONDS)]
    for name in others:
        ratios = [turn[name] / turn[eager] for turn in turns]
        rows.append(Row("d", f"{what}, {name} / {eager}, time", "x", ratios))
        share = f"pixels stored otherwise by {name} than by {eager}, in a million"
        rows.append(Row("d", share, "", different[name]))
    return rows


def _network(card: Card) -> NoiseNetwork:
    network = NoiseNetwork(**network_arguments(card))
    fill(network, card)
    return network.eval()


def _inputs(card: Card) -> Inputs:
    side, codes = card.images.canonical_size, len(card.codes.classes)
    random = torch.Generator().manual_seed(0)
    image = torch.rand(1, card.images.channels, side, side, generator=random)
    code = torch.full((1, codes), 1 / codes)
    return image, code, torch.zeros_like(code)


@torch.inference_mode()
def _milliseconds(engine: Engine, inputs: Inputs) -> float:
    engine(*inputs)
    began = process_time()  # of all its threads, and of no other process
    for _ in range(_CALLS):
        engine(*inputs)
    return 1000 * (process_time() - began) / _CALLS


def _compare(
    card: Card, key: Key, export: Path, engines: dict[str, Engine]
) -> dict[str, list[float]]:
    """Return how many pixels in a million each engine stores otherwise than the first."""
    files = [read_protectable(path.read_bytes()) for path in sorted(export.iterdir())[:_SLICES]]
    stored = {
        name: [_protect(file, card, key, engine) for file in files]
        for name, engine in engines.items()
    }
    first = next(iter(stored.values()))
    return {
        name: [1e6 * float(np.mean(a != b)) for a, b in zip(each, first, strict=True)]
        for name, each in stored.items()
    }


def _protect(file: Protectable, card: Card, key: Key, engine: Engine) -> np.ndarray[Any, Any]:
    network = _network(card)
    network.generator = engine  # type: ignore[assignment]

    def noise(
        presented: np.ndarray[Any, Any],
        content_sha256: bytes,
        label: int | None,
        bound: np.ndarray[Any, Any] | None,
    ) -> np.ndarray[Any, Any]:
        return key_noise(network, key, presented, content_sha256, label, bound)

    return add_noise(file.images, noise, "standard")


# The engines --------------------------------------------------------------------------------


def _as_it_runs(generator: nn.Module, _inputs: Inputs) -> Engine:
    return Engine(generator)


def _channels_last(generator: nn.Module, _inputs: Inputs) -> Engine:
    return Engine(channels_last(generator))


def _onnx_runtime(generator: nn.Module, inputs: Inputs) -> Engine | None:
    if not _are_installed("onnxruntime", "onnx", "onnxscript"):
        return None
    runtime = importlib.import_module("onnxruntime")
    exported: Any = torch.onnx.export(generator, inputs, dynamo=True, verbose=False)
    content = BytesIO()
    exported.save(content)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = runtime.InferenceSession(
        content.getvalue(), options, providers=["CPUExecutionProvider"]
    )
    names = [each.name for each in session.get_inputs()]

    def compute(*given: Tensor) -> Tensor:
        # Without decoys the graph may do without an input.
        arrays = {name: each.numpy() for name, each in zip(names, given, strict=False)}
        return torch.from_numpy(session.run(None, arrays)[0])

    return Engine(compute)


def _openvino(generator: nn.Module, inputs: Inputs) -> Engine | None:
    if not _are_installed("openvino"):
        return None
    openvino = importlib.import_module("openvino")
    model = openvino.convert_model(generator, example_input=inputs)
    # Else it may compute in bfloat16 where the processor can.
    told = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(model, "CPU", told).create_infer_request()

    def compute(*given: Tensor) -> Tensor:
        (noise,) = request.infer([each.numpy() for each in given]).values()
        return torch.from_numpy(np.array(noise))

    return Engine(compute)


_MAKERS: dict[str, Callable[[nn.Module, Inputs], Engine | None]] = {
    "PyTorch as it runs": _as_it_runs,
    "PyTorch channels last": _channels_last,
    "ONNX Runtime": _onnx_runtime,
    "OpenVINO": _openvino,
}


def _are_installed(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in modules)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what exporters say of themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
