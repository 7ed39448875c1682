"""A look at the pixels of files that are to be protected: which would be rejected, and why.

By the same code as a run and in the same kind of process, but without noise: that is several times
as fast, and needs no torch.
"""

from multiprocessing.connection import Connection
from pathlib import Path

from scipy import ndimage as _ndimage  # noqa: F401 - what workers need is loaded before they fork

from medprotect.imaging import formats
from medprotect.imaging.image import Pair
from medprotect.protect.protectable import find_reach
from medprotect.protect.serving import answer_run, attempt
from medprotect.protect.tasks import Result, Setup, Task
from medprotect.scan.walk import open_found


def look(export: Path, task: Task, strength: str) -> Result:
    """Decode all images of a file, and look whether noise would reach enough of them.

    Raises
    ------
    InputError
        A run would reject the file, with this reason.
    """
    with open_found(export, task.found) as stream:
        if task.voxels is None:
            reach, shows_grey = find_reach(formats.open_stream(stream).images(), strength)
            if task.pipeline_for(shows_grey=shows_grey):
                reach.check()
            return Result(shows_grey=shows_grey)
        with open_found(export, task.voxels) as voxels:
            pair = Pair(stream.read(), voxels.read())
    reach, _ = find_reach(formats.open_file(pair).images(), strength)
    reach.check()
    return Result()


class Looker:
    """A worker that looks and does no more.

    Parameters
    ----------
    setup : Setup
        Export and strength count.
    """

    def __init__(self, setup: Setup) -> None:
        self._export, self._strength = Path(setup.export), setup.strength

    def backend(self) -> dict[str, str]:
        """Return nothing: it writes no bytes."""
        return {}

    def do(self, task: Task) -> Result:
        """Look at a file; an error of it is a result."""
        return attempt(lambda each: look(self._export, each, self._strength), task)


def serve(connection: Connection) -> None:
    """Do what a plan asks for, until it closes the pipe."""
    answer_run(connection, Looker)
