"""Finished attempts of an audit in a folder, so that an audit that broke off goes on.

Arrays lie as npz, networks as safetensors, named by the hash of all that they depend on: another
audit takes up what is the same. Beside them lies the one training that is not finished, as it was
some seconds ago. The folder tells of patients' images and is its owner's alone.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medprotect import __version__
from medprotect.audit.attempt import Attempt
from medprotect.audit.moments import pack_moments, unpack_moments
from medprotect.confounder.networks import channels_last
from medprotect.confounder.weights import load_tensors, save_tensors, write_private
from medprotect.errors import ConfigError, PipelineError
from medprotect.protect.atomic import make_folders, mapped_errors
from medprotect.training.checkpoint import Pause

UNFINISHED = ".unfinished"
"""Ending of the file of a training that is not finished: safetensors."""

Settings = Mapping[str, str | int]
"""What the outcome of an attempt depends on."""


class State:
    """The folder.

    Parameters
    ----------
    folder : Path, optional
        Made where it is not there. None keeps nothing.
    apart_from : tuple of Path
        Folders of images, in which it must not lie: they may leave the house.

    Raises
    ------
    ConfigError
        It lies in one of them.
    OutputError, StorageError
        It cannot be made.
    """

    def __init__(self, folder: Path | None, apart_from: tuple[Path, ...] = ()) -> None:
        self._folder = folder
        if folder is None:
            return
        place = folder.resolve()
        if any(place.is_relative_to(other.resolve()) for other in apart_from):
            raise ConfigError("The state would lie among the images; keep it elsewhere.")
        make_folders(place, mode=0o700)

    def save(self, settings: Settings, run: Attempt) -> None:
        """Keep an attempt, with its network where it has one.

        Raises
        ------
        OutputError, StorageError
            The folder cannot be written.
        """
        if self._folder is None:
            return
        if run.network is not None:
            path = (self._folder / _name(settings)).with_suffix(".safetensors")
            with mapped_errors():
                save_tensors(path, run.network.state_dict())
        # The last: where it is, all is.
        self.save_arrays(
            settings, {name: each.numpy() for name, each in pack_moments(run.moments).items()}
        )

    def load(
        self, settings: Settings, make_network: Callable[[], nn.Module] | None
    ) -> Attempt | None:
        """Return what was kept of an attempt, or None where nothing, or nothing whole, was.

        Parameters
        ----------
        make_network : callable, optional
            Makes the untrained victim, where its network is needed.
        """
        arrays = self.load_arrays(settings)
        if arrays is None or self._folder is None:
            return None
        try:
            moments = unpack_moments(
                {name: torch.from_numpy(each) for name, each in arrays.items()}
            )
            run = Attempt(tuple(moments))
            if make_network is None:
                return run
            network = channels_last(make_network())
            path = self._folder / _name(settings)
            network.load_state_dict(load_tensors(path.with_suffix(".safetensors")))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, PipelineError):
            return None
        return replace(run, network=network.eval())

    def unfinished(self, settings: Settings) -> "Unfinished | None":
        """Return where a training is kept while it goes on, until it is saved as a whole."""
        if self._folder is None:
            return None
        return Unfinished((self._folder / _name(settings)).with_suffix(UNFINISHED))

    def save_arrays(self, settings: Settings, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep arrays by name, in place of what was kept while they were made.

        Raises
        ------
        OutputError, StorageError
            The folder cannot be written.
        """
        if self._folder is None:
            return
        stream = BytesIO()
        np.savez(stream, **dict(arrays))  # type: ignore[arg-type]
        path = self._folder / _name(settings)
        with mapped_errors():
            write_private(path, stream.getvalue())
            path.with_suffix(UNFINISHED).unlink(missing_ok=True)

    def load_arrays(self, settings: Settings) -> dict[str, NDArray[Any]] | None:
        """Return the arrays that were kept; None where nothing, or nothing whole, was."""
        if self._folder is None:
            return None
        try:
            content = (self._folder / _name(settings)).read_bytes()
            with np.load(BytesIO(content), allow_pickle=False) as arrays:
                return dict(arrays)
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            return None


class Unfinished:
    """The training of an attempt as it was some seconds ago, in one file.

    Parameters
    ----------
    path : Path
        Of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pause = Pause()

    def is_due(self) -> bool:
        """Whether it is time to save."""
        return self._pause.is_over()

    def save(self, tensors: dict[str, Tensor]) -> None:
        """Write the file, in place of the one before.

        Raises
        ------
        OutputError, StorageError
            It cannot be written.
        """
        with mapped_errors():
            save_tensors(self._path, tensors)
        self._pause.begin()

    def load(self) -> dict[str, Tensor] | None:
        """Return what was saved last; None where nothing, or nothing whole, was."""
        try:
            return load_tensors(self._path)
        except PipelineError:
            return None


def _name(settings: Settings) -> str:
    whole = {**settings, "medprotect": __version__, "torch": str(torch.__version__)}
    text = json.dumps(whole, sort_keys=True)
    return f"{hashlib.sha256(text.encode()).hexdigest()}.npz"


def digest(*arrays: NDArray[np.generic]) -> str:
    """Return the SHA-256 of arrays: of their types, shapes and values."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype.str} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
