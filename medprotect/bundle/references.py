"""The last step of a bundle: what refers to images of the export gets the UIDs that these got.

What an image refers to may be written after it, so this comes when all are written, as in a run.
"""

import logging
from collections.abc import Iterable
from pathlib import Path

from medprotect.bundle.dataset import plan_images
from medprotect.imaging import formats
from medprotect.imaging.dicom import references
from medprotect.protect.atomic import write_whole
from medprotect.protect.protectable import check_remapped

logger = logging.getLogger(__name__)


def remap_references(dataset_dir: str, output_dir: str, folder: str) -> int:
    """Give the references among protected images their new UIDs, in place.

    Parameters
    ----------
    dataset_dir, output_dir : str
        Roots of the images, and of what was written of them.
    folder : str
        Of the pipeline.

    Returns
    -------
    int
        Files that were written again.

    Raises
    ------
    VerificationError
        A file differs after it in more than its references.
    InputError
        A file cannot be read.
    """
    root, out = Path(dataset_dir), Path(output_dir)
    pairs = [(root / row.found.path, out / row.out) for row in plan_images(root, Path(folder))]
    uids = collect_uids(pairs)
    written = 0
    for source, protected in pairs:
        with source.open("rb") as stream:
            names = formats.find_references(stream)
        wanted = {name: uids[name] for name in names if name in uids}
        if wanted:
            made = protected.read_bytes()
            remapped, _ = references.remap(made, wanted)
            check_remapped(source.read_bytes(), made, remapped, wanted, is_image=True)
            write_whole(protected, remapped)
            written += 1
    logger.info("%d files refer to others of the export, and now to what these became", written)
    return written


def collect_uids(pairs: Iterable[tuple[Path, Path]]) -> dict[str, str]:
    """Return the new UIDs of files that were protected, by the names of the old.

    Where several files have one old UID and got different ones, that of the first counts.

    Parameters
    ----------
    pairs : iterable of Path and Path
        Each original, and what was written of it.
    """
    found: dict[str, str] = {}
    for source, protected in pairs:
        with source.open("rb") as original, protected.open("rb") as written:
            found = formats.find_new_uids(original, written) | found
    return found
