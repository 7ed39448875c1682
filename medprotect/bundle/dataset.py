"""The files of a folder that a bundle works on."""

import logging
from collections import Counter
from pathlib import Path

from medprotect.confounder.card import load_card
from medprotect.confounder.labels import choose_training, read_table
from medprotect.errors import InputError
from medprotect.imaging import formats
from medprotect.plan.plan import Action, Row, Rules, plan_rows, reject
from medprotect.plan.selection import Candidate
from medprotect.protect.protectable import is_grey
from medprotect.scan.walk import open_found, walk

logger = logging.getLogger(__name__)


def list_images(dataset_dir: str, folder: str) -> list[dict[str, str]]:
    """Return ``[{"image": path}]`` of the images of a folder that a pipeline can protect.

    The plan is that of ``medprotect run EXPORT OUT --pipeline FOLDER``. What it rejects or leaves
    out is counted in the log, by reason; only `medprotect run` writes a receipt of it.

    Parameters
    ----------
    dataset_dir : str
        Root of the images.
    folder : str
        Of the pipeline.

    Raises
    ------
    InputError
        There is no image to protect.
    """
    root = Path(dataset_dir)
    rows = _plan(root, Path(folder))
    apart = Counter(row.reason or row.action.value for row in rows if row.action != Action.PROTECT)
    for reason, count in sorted(apart.items()):
        logger.warning("%d files are not protected, and not written: %s", count, reason)
    found = [{"image": str(root / row.found.path)} for row in rows if row.action == Action.PROTECT]
    if not found:
        raise InputError("The folder holds no image to protect.")
    return found


def plan_images(root: Path, folder: Path) -> list[Row]:
    """Return the rows of the plan that `list_images` takes."""
    return [row for row in _plan(root, folder) if row.action == Action.PROTECT]


def settle_by_pixels(root: Path, row: Row) -> Row:
    """Return the plan of an image once it is known whether colour that it stores is all grey."""
    if row.otherwise is None:
        return row
    try:
        with open_found(root, row.found) as stream:
            return row.settle(shows_grey=is_grey(formats.open_stream(stream)))
    except InputError as error:
        return reject(row, error)


def _plan(root: Path, folder: Path) -> list[Row]:
    rules = Rules((Candidate(load_card(folder), named=True),))
    return [settle_by_pixels(root, row) for row in plan_rows(root, root, walk(root), rules)]


def list_labelled(dataset_dir: str, labels_csv: str) -> list[dict[str, str]]:
    """Return ``[{"image": path, "label": class}]`` of a table of labels; of its training split.

    See `medprotect.confounder.labels.read_table`.
    """
    rows = choose_training(read_table(Path(labels_csv)))
    root = Path(dataset_dir)
    return [{"image": str(root / row.file), "label": row.label} for row in rows]
