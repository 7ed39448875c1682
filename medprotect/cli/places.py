"""Where EXPORT, OUT and the state folder are: folders, or prefixes of an object store."""

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medprotect.protect.pool import HireWorkers
    from medprotect.scale.store_url import StoreUrl
    from medprotect.scale.stored_export import StoredExport
    from medprotect.scale.stored_out import StoredOut
    from medprotect.scan.walk import Tree

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class Places:
    """Where a run reads and writes; see `medprotect.protect.settings.Settings`."""

    export: Path
    out: Path
    state: Path
    export_tree: "StoredExport | None" = None
    out_tree: "StoredOut | None" = None

    def fields(self) -> dict[str, Any]:
        """Return them as the settings of a run name them."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @property
    def hire(self) -> "HireWorkers | None":
        """What makes the workers where the export must be fetched for them, else None."""
        if self.export_tree is None:
            return None
        from medprotect.protect.pool import Pool
        from medprotect.scale.fetching import Fetching

        return Fetching(Pool, self.export_tree, self.state)


def find_places(
    export: str,
    out: str,
    state: Path | None,
    *,
    with_vault: bool = False,
    on_cluster: bool = False,
) -> Places:
    """Return where a run reads and writes, and connect to the stores among it.

    Raises
    ------
    ConfigError
        A URL is not one of a store, --state is missing, or s3fs is; or what is asked for is not
        done with a store.
    OutputError
        EXPORT and OUT lie in one another.
    """
    urls, state = _parse(export, out, state)
    if not urls:
        return Places(Path(export), Path(out), state)
    from medprotect.protect.resume import STAGING
    from medprotect.scale.stored_export import StoredExport
    from medprotect.scale.stored_out import StoredOut

    _check_options(with_vault=with_vault, on_cluster=on_cluster)
    _check_apart(urls.get(export), urls.get(out))
    return Places(
        export=state / STAGING if export in urls else Path(export),
        out=state / "out" if out in urls else Path(out),  # by which names are checked, as ever
        state=state,
        export_tree=StoredExport(urls[export]) if export in urls else None,
        out_tree=StoredOut(urls[out]) if out in urls else None,
    )


def find_trees(
    export: str, out: str, state: Path | None
) -> "tuple[Path | Tree, Path | Tree, Path]":
    """Return what a run read and wrote, to be read again, and its state folder.

    Raises
    ------
    ConfigError
        As `find_places`.
    """
    urls, state = _parse(export, out, state)
    if not urls:
        return Path(export), Path(out), state
    from medprotect.protect.resume import STAGING
    from medprotect.scale.stored_export import WholeObjects

    scratch = state / STAGING
    trees = {text: WholeObjects(url, scratch) for text, url in urls.items()}
    return trees.get(export, Path(export)), trees.get(out, Path(out)), state


def _parse(export: str, out: str, state: Path | None) -> "tuple[dict[str, StoreUrl], Path]":
    """Return the URLs among two places, and the state folder."""
    from medprotect.errors import ConfigError
    from medprotect.protect.defaults import state_beside

    texts = [text for text in (export, out) if _URL.match(text)]
    if not texts:
        return {}, state or state_beside(Path(out))
    if state is None and out in texts:
        raise ConfigError("If OUT is in an object store, give --state a folder of this machine.")
    from medprotect.scale.store_url import StoreUrl

    return {text: StoreUrl.parse(text) for text in texts}, state or state_beside(Path(out))


def _check_options(*, with_vault: bool, on_cluster: bool) -> None:
    from medprotect.errors import ConfigError

    if with_vault:
        raise ConfigError(
            "--vault needs folders: copy EXPORT and OUT here, then run "
            "`medprotect vault EXPORT OUT FILE`."
        )
    if on_cluster:
        raise ConfigError(
            "--engine ray needs folders: mount EXPORT and OUT on all nodes, or leave out --engine "
            "ray."
        )


def _check_apart(export: "StoreUrl | None", out: "StoreUrl | None") -> None:
    from medprotect.errors import OutputError

    if export is not None and out is not None and export.overlaps(out):
        raise OutputError(
            "EXPORT and OUT are the same prefix, or one is inside the other; choose another OUT"
        )
