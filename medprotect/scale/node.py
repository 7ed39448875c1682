"""What runs on a node of a cluster: one worker process of the usual kind, and one that keeps it.

A node is told of files by their paths, and reads key, pipelines and images from the file system
that all nodes share. It begins only where it sees what the run sees.
"""

import json
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import medprotect
from medprotect.confounder.card import load_card
from medprotect.confounder.key import Key
from medprotect.errors import (
    ConfigError,
    KeyFileError,
    MedprotectError,
    PipelineError,
    place_of,
)
from medprotect.protect.confinement import worker_bytes
from medprotect.protect.pool import Pool
from medprotect.protect.tasks import Setup, Task, parse_task
from medprotect.scan.walk import Found

_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Sight:
    """What a node must find to be fit for a run.

    Attributes
    ----------
    token : str
        Path of a file in the state folder.
    words : str
        What it holds.
    inode : int
        The number of the export's root: the file system must give it to all nodes alike.
    key_file, fingerprint : str
        Path of the owner's key, and what tells it from others.
    pipelines : dict of str to str
        Hash by name.
    version : str
        Of medprotect.
    seconds : float
        How long to look for the folders.
    """

    token: str
    words: str
    inode: int
    key_file: str
    fingerprint: str
    pipelines: dict[str, str]
    version: str
    seconds: float


def sight_of(
    setup: Setup, token: Path, words: str, key_file: Path, fingerprint: str, seconds: float
) -> Sight:
    """Return what the process of the run finds, which every node is to find as well."""
    return Sight(
        token=str(token),
        words=words,
        inode=Path(setup.export).stat().st_ino,
        key_file=str(key_file),
        fingerprint=fingerprint,
        pipelines={name: _hash_of(folder) for name, folder in setup.pipelines.items()},
        version=medprotect.__version__,
        seconds=seconds,
    )


def _hash_of(folder: str) -> str:
    return load_card(Path(folder)).pipeline_sha256


class NodeWorker:
    """One worker process, and the checks that its node is fit; made an actor by the run.

    Speaks JSON, as workers do: what it is told and answers are short texts.
    """

    def __init__(self) -> None:
        self._export = Path()
        self._pool: Pool | None = None
        self._answer = ""

    def begin(self, words: str) -> str:
        """Check the node and start its worker; answer its backend, or why there is none.

        Parameters
        ----------
        words : str
            JSON with `Setup` as ``setup``, without the key, and `Sight` as ``sight``.
        """
        _be_quiet()
        try:
            fields = json.loads(words)
            backend = self._begin(Setup(**fields["setup"]), Sight(**fields["sight"]))
            self._answer = json.dumps({"backend": backend})
        except MedprotectError as error:
            self._answer = json.dumps({"slug": error.slug, "detail": str(error)})
        except Exception as error:  # its text may hold a name, and the cluster keeps logs
            raise RuntimeError(place_of(error)) from None
        return self._answer

    def answer(self) -> str:
        """Return what `begin` did."""
        return self._answer

    def do(self, words: str) -> str:
        """Do a task and answer its result, both as JSON."""
        try:
            if self._pool is None:
                raise RuntimeError("a task before the setup")
            task = self._on_this_node(parse_task(json.loads(words)))
            ((_, result),) = self._pool.results(iter([task]))
            return json.dumps(asdict(result))
        except Exception as error:
            raise RuntimeError(place_of(error)) from None

    def _begin(self, setup: Setup, sight: Sight) -> dict[str, str]:
        if medprotect.__version__ != sight.version:
            raise ConfigError("a node has another version of medprotect; install one on all nodes")
        self._export = Path(setup.export)
        _look(self._export, sight)
        key = Key.load(Path(sight.key_file))
        if key.fingerprint != sight.fingerprint:
            raise KeyFileError("a node finds another key in the place of the key file")
        if {name: _hash_of(folder) for name, folder in setup.pipelines.items()} != sight.pipelines:
            raise PipelineError("a node has other pipelines; install one medprotect on all nodes")
        secret, memory = key.secret.hex(), worker_bytes(max(_processors_of_this_node(), 1))
        self._pool = Pool(1, replace(setup, secret=secret, memory_bytes=memory))
        return self._pool.backend

    def _on_this_node(self, task: Task) -> Task:
        voxels = self._device_of(task.voxels) if task.voxels else None
        return replace(task, found=self._device_of(task.found), voxels=voxels)

    def _device_of(self, found: Found) -> Found:
        """Give a file the number that its file system has here; nodes number them as they like."""
        try:
            return replace(found, device=(self._export / found.path).lstat().st_dev)
        except OSError:
            return found  # the worker says what is wrong with it


def _be_quiet() -> None:
    """Write nothing: libraries quote headers, and a cluster keeps what is written on its nodes."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(nothing, stream)
    os.close(nothing)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run decides when to stop
    # The worker process would import the main module of this one, and needs nothing of it.
    vars(sys.modules["__main__"]).pop("__file__", None)


def _look(export: Path, sight: Sight) -> None:
    """See that export and state folder are the run's; a share may come a while after its node.

    Raises
    ------
    ConfigError
        They are not.
    """
    end = time.monotonic() + sight.seconds
    while not _sees(export, sight):
        if time.monotonic() > end:
            raise ConfigError(
                "a node of the cluster does not see EXPORT and the state folder at the paths that "
                "they have here; mount them on all nodes alike, and run Ray as the same user"
            )
        time.sleep(_LOOK_SECONDS)


def _sees(export: Path, sight: Sight) -> bool:
    try:
        words = Path(sight.token).read_text()
        return words == sight.words and export.stat().st_ino == sight.inode
    except OSError:
        return False


def _processors_of_this_node() -> int:
    """Return how many workers Ray may start here."""
    import ray

    here = ray.get_runtime_context().get_node_id()
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return next((int(n["Resources"].get("CPU", 1)) for n in nodes if n["NodeID"] == here), 1)
