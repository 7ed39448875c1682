"""Checkpoints of a training: tensors as safetensors, numbers as JSON, never a pickle.

They are secrets like the key: what made the noise can undo it.
"""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medprotect.confounder.weights import load_tensors, save_tensors, write_private
from medprotect.training.ranks import agree, rank, ranks

SECONDS = 10.0
"""From one checkpoint of a training to the next: what is lost, at most, when it is stopped."""


def state_sha256(network: nn.Module) -> str:
    """Return the hash in hex of all weights: tells beginnings apart."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


class Pause:
    """Tells when it is time for the next checkpoint, by the clock."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def is_over(self) -> bool:
        """Whether `SECONDS` have passed since the last one."""
        return time.monotonic() - self._since >= SECONDS

    def begin(self) -> None:
        """Wait as long again."""
        self._since = time.monotonic()


class Checkpoint:
    """Modules, their optimiser and a step number, saved together and found again.

    Parameters
    ----------
    folder : Path or None
        Where it lies; None keeps nothing.
    name : str
        Of the stage of training.
    settings : dict
        What the stage depends on; a checkpoint made with others is not taken up.
    """

    def __init__(self, folder: Path | None, name: str, settings: dict[str, Any]) -> None:
        self._folder, self._name = folder, name
        together = {"ranks": ranks()} if ranks() > 1 else {}
        self._settings: dict[str, Any] = json.loads(json.dumps({**settings, **together}))
        self._pause = Pause()

    def is_due(self) -> bool:
        """Whether it is time to save; the same for all ranks."""
        return agree(self._folder is not None and self._pause.is_over())

    def save(
        self,
        step: int,
        modules: nn.ModuleDict,
        optimizers: list[torch.optim.Adam],
        figures: dict[str, float],
    ) -> None:
        """Write the state after `step` steps, and the figures so far."""
        self._pause.begin()
        if self._folder is None or rank() != 0:
            return
        tensors = {f"module.{name}": tensor for name, tensor in modules.state_dict().items()}
        for place, optimizer in enumerate(optimizers):
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"adam.{place}.{index}.{key}": value for key, value in state.items()}
        file = f"{self._name}-{step:07d}.safetensors"
        save_tensors(self._folder / file, tensors)
        state = {"step": step, "file": file, "figures": figures, "settings": self._settings}
        write_private(self._folder / f"{self._name}.json", json.dumps(state).encode())
        for old in self._folder.glob(f"{self._name}-*.safetensors"):
            if old.name != file:
                old.unlink()

    def load(
        self, modules: nn.ModuleDict, optimizers: list[torch.optim.Adam]
    ) -> tuple[int, dict[str, float]]:
        """Take up the saved state: its step and figures; 0 and none where none fits."""
        state = self._state()
        if state is None or self._folder is None:
            return 0, {}
        tensors = load_tensors(self._folder / state["file"])
        modules.load_state_dict(
            {
                name.removeprefix("module."): tensor
                for name, tensor in tensors.items()
                if name.startswith("module.")
            }
        )
        for place, optimizer in enumerate(optimizers):
            _restore(optimizer, f"adam.{place}.", tensors)
        return int(state["step"]), dict(state["figures"])

    def _state(self) -> dict[str, Any] | None:
        if self._folder is None:
            return None
        try:
            state = json.loads((self._folder / f"{self._name}.json").read_text())
        except (OSError, ValueError):
            return None
        fits = isinstance(state, dict) and state.get("settings") == self._settings
        return state if fits else None


def _restore(optimizer: torch.optim.Adam, prefix: str, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(prefix):
            index, key = name.removeprefix(prefix).split(".")
            state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
