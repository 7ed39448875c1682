"""Finding the file that holds the voxels of a header."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from medprotect.errors import CorruptImageError, InputError, UnsupportedImageError
from medprotect.imaging import formats
from medprotect.imaging.image import Content, Detached, Pair


def choose_voxels(detached: Detached, header: str, is_there: Callable[[str], bool]) -> str:
    """Return the name of the file that holds the voxels of a header.

    Parameters
    ----------
    detached : Detached
        What the header says.
    header : str
        Name of the header file.
    is_there : callable
        Whether a file of this name lies in its folder.

    Raises
    ------
    CorruptImageError
        None is there.
    UnsupportedImageError
        Several could be it, or none can be told from the header's name.
    """
    names = detached.names_for(header)
    if not names:
        raise UnsupportedImageError(
            "a header whose voxels lie in another file, under a name that does not say in which; "
            f"name it as one ending in {' or '.join(detached.endings)}"
        )
    found = [name for name in names if name != header and is_there(name)]
    if len(found) > 1:
        raise UnsupportedImageError("two files may hold the header's voxels; keep one of them")
    if not found:
        raise CorruptImageError(
            "the file that holds the header's voxels is not beside it; put it there"
        )
    return found[0]


def read_content(path: Path) -> Content:
    """Read a file, and with a header that names one the file of its voxels.

    Raises
    ------
    InputError
        That file is missing.
    OSError
        A file cannot be read.
    """
    data = path.read_bytes()
    try:
        detached = formats.describe(BytesIO(data)).detached
    except InputError:
        return data  # said again by whoever opens it
    if detached is None:
        return data
    name = choose_voxels(detached, path.name, lambda name: (path.parent / name).is_file())
    return Pair(data, (path.parent / name).read_bytes())
