"""Images in two files: what becomes of the header becomes of its voxels."""

from collections.abc import Sequence
from dataclasses import replace

from medprotect.errors import InputError, UnsafePathError, UnsupportedImageError
from medprotect.plan.plan import Action, Row, reject, reject_collisions

_NO_VOXELS = frozenset({"", "text", "pdf"})
"""Kinds of files that may turn out to be voxels once a header says so."""


def settle(rows: Sequence[Row], *, ignores_case: bool) -> list[Row]:
    """Return the plan as it is to be carried out, once each entry has a row of its own.

    Parameters
    ----------
    rows : sequence of Row
        From `medprotect.plan.plan.plan_row`, all of them.
    ignores_case : bool
        Whether OUT lies on a file system where ``a`` and ``A`` are one name.
    """
    rows = _join(rows)
    return _reject_torn(reject_collisions(rows, ignores_case=ignores_case))


def _join(rows: Sequence[Row]) -> list[Row]:
    """Make the plan of a file of voxels that of its header."""
    by_path = {row.found.path: row for row in rows}
    claims: dict[str, list[Row]] = {}
    for row in rows:
        if row.voxels:
            claims.setdefault(row.voxels, []).append(row)
    for path, headers in claims.items():
        voxels = by_path[path]
        error = _why_apart(voxels, headers)
        if error is not None:
            for header in headers:
                by_path[header.found.path] = reject(replace(header, voxels=""), error)
        if voxels.kind in _NO_VOXELS and not voxels.voxels:
            by_path[path] = _follow(voxels, by_path[headers[0].found.path])
    return list(by_path.values())


def _why_apart(voxels: Row, headers: Sequence[Row]) -> InputError | None:
    """Return why headers and voxels make no image together, if so."""
    if voxels.kind not in _NO_VOXELS or voxels.voxels:
        return UnsupportedImageError(
            "the file of its voxels is an image itself; leave one of the two out"
        )
    if len(headers) > 1:
        return UnsupportedImageError("two headers name one file of voxels; keep one of them")
    if voxels.reason == UnsafePathError.slug:
        return UnsafePathError("the path of its voxels cannot be used; rename the file")
    return None


def _follow(voxels: Row, header: Row) -> Row:
    row = Row(
        voxels.found,
        header.action,
        kind=f"voxels of {header.kind or 'a header'}",
        series=header.series,
        pipeline=header.pipeline,
        why=header.why,
        measured=header.measured,
        header=header.found.path,
    )
    if header.action is Action.REJECT:
        detail = f"its header is rejected: {header.detail}"
        return replace(row, reason=header.reason, detail=detail)
    return replace(row, out=voxels.found.path if header.out else "")


def _reject_torn(rows: Sequence[Row]) -> list[Row]:
    """Reject both files of a pair where one is rejected."""
    by_path = {row.found.path: row for row in rows}
    for row in rows:
        other = by_path.get(row.voxels or row.header)
        if other is None or row.action is Action.REJECT or other.action is not Action.REJECT:
            continue
        torn = replace(row, action=Action.REJECT, out="", reason=other.reason)
        by_path[row.found.path] = replace(torn, detail=f"its other file: {other.detail}")
    return list(by_path.values())
