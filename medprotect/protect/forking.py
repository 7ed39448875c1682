"""The process that workers are forked from; it may start before its parent has imported much."""

from multiprocessing import forkserver

LOOKING = "medprotect.protect.looking"
"""The module of workers that look at pixels for a plan."""


def prepare_workers(*modules: str) -> None:
    """Start a clean process that imports modules, from which workers are forked later.

    Importing takes a while, in which the caller does something else. Where the process runs
    already, it stays as it is.
    """
    forkserver.set_forkserver_preload(list(modules))
    forkserver.ensure_running()
