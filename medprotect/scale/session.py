"""Ray: started on this machine for one run, or joined where a cluster runs already."""

import logging
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from medprotect.errors import ConfigError, PeerError

_STORE_BYTES = 100 * 1024**2
"""What Ray's object store may take on this machine: no image passes through it."""

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # What Ray says of workers that died it would print among what the run prints.
    "RAY_DEDUP_LOGS": "1",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",
}
"""Variables of a Ray that reports to nobody, and says nothing."""

_START_SECONDS = "120"
"""How long Ray may take to start: by default too short for a machine that is busy."""


def require_ray() -> None:
    """See that Ray is installed.

    Raises
    ------
    ConfigError
        It is not.
    """
    from importlib.util import find_spec

    if find_spec("ray") is None:
        raise ConfigError("Runs on a cluster need the extra 'ray': pip install 'medprotect[ray]'.")


@contextmanager
def ray_session(address: str, jobs: int) -> Iterator[Any]:
    """Give the module `ray`, connected to a cluster until the end of the block.

    Parameters
    ----------
    address : str
        Of the cluster's head; "" to start Ray on this machine.
    jobs : int
        How many processors Ray has where it is started.

    Raises
    ------
    ConfigError
        Ray is not installed, or the address is of another kind.
    PeerError
        The cluster is away, or refuses us.
    """
    require_ray()
    if "://" in address:
        raise ConfigError("A cluster is named as HOST:PORT of its head, on one of its nodes.")
    os.environ |= _QUIET
    if address:
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "2")  # each takes 40 seconds
    else:
        _keep_to_this_machine()
    import ray  # which reads its variables at once, and only once

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    with _options(address, jobs) as options:
        try:
            with _own_handlers():
                ray.init(log_to_driver=False, logging_level=logging.CRITICAL, **options)
        except Exception as error:
            raise PeerError(
                f"the Ray cluster cannot be joined or started ({type(error).__name__}); nothing "
                "is lost; see that it runs, then run again"
            ) from None
        try:
            yield ray
        finally:
            with _own_handlers():
                ray.shutdown()


def _keep_to_this_machine() -> None:
    """Let a Ray that is started here listen on loopback alone, and to this user alone."""
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # on Linux, too, "no cluster" is loopback
    # Ray makes a token of its own otherwise, and leaves it in the user's folder.
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    os.environ.setdefault("RAY_raylet_start_wait_time_s", _START_SECONDS)


@contextmanager
def _options(address: str, jobs: int) -> Iterator[dict[str, Any]]:
    if address:
        yield {"address": address}
        return
    folder = tempfile.mkdtemp(prefix="ray-")
    try:
        yield {
            "address": "local",
            "num_cpus": jobs,
            "num_gpus": 0,
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
            "_temp_dir": folder,
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _own_handlers() -> Iterator[None]:
    """Keep the handlers of signals: Ray puts one of its own in the place of SIGTERM's."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
