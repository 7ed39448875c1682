"""OUT in an object store: the put of an object is what makes it part of OUT."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from medprotect.errors import OutputError
from medprotect.protect.atomic import mapped_errors
from medprotect.protect.protectable import sha256_of
from medprotect.scale.object_store import KEY_BYTES, Store
from medprotect.scale.store_url import StoreUrl

_AT_ONCE = 8


class StoredOut:
    """OUT under a prefix of a bucket; a `medprotect.protect.out_tree.OutTree`.

    What lies there is listed once; from then on only this run is to write there.

    Parameters
    ----------
    url : StoreUrl
        Where.

    Attributes
    ----------
    path_bytes : int
        Longest path for which there is a key.

    Raises
    ------
    ConfigError
        As `Store`.
    """

    def __init__(self, url: StoreUrl) -> None:
        self._store = Store(url, OutputError)
        self._listed: dict[str, int] | None = None
        self.path_bytes: int | None = KEY_BYTES - len(url.root.encode())

    def is_empty(self) -> bool:
        """Whether no object lies under the prefix.

        Raises
        ------
        OutputError
            There is no such bucket.
        PeerError
            The store is away, or refuses.
        """
        return not self._sizes

    def begin(self) -> None:
        """Do nothing: an object makes its own folders."""

    def identity(self) -> tuple[int, int]:
        """Return always the same: a store is not moved under its URL."""
        return 0, 0

    def ignores_case(self) -> bool:
        """Whether ``a`` and ``A`` are one key: never."""
        return False

    def has(self, name: str) -> bool:
        """Whether there is an object of that name."""
        return name in self._sizes

    def holds(self, name: str, size: int, sha256: str = "") -> bool:
        """Whether there is an object of that name and size, and hash if one is given.

        Raises
        ------
        PeerError
            The store is away, or refuses.
        """
        if self._sizes.get(name) != size:
            return False
        return not sha256 or self._store.sha256_of(self._key(name)) == sha256

    def publish(self, files: Sequence[tuple[Path, str]]) -> None:
        """Put files, several at once; each staged file is gone once its object is there.

        Raises
        ------
        OutputError
            A name is taken by an object of other content.
        PeerError
            The store is away, or refuses.
        """
        if len(files) == 1:
            self._put(*files[0])
            return
        with ThreadPoolExecutor(min(_AT_ONCE, len(files)), "put") as threads:
            puts = [threads.submit(self._put, *each) for each in files]
            try:
                for put in puts:
                    put.result()
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    def _put(self, staged: Path, name: str) -> None:
        key = self._key(name)
        if not self._store.put(staged, key):
            # An answer may be lost on its way, and what it told of be put again by the SDK.
            with mapped_errors(), staged.open("rb") as stream:
                digest = sha256_of(stream)
            if self._store.sha256_of(key) != digest:
                raise OutputError(
                    "a name in OUT was taken by an object that this run did not put; move it away"
                )
        with mapped_errors():
            self._sizes[name] = staged.stat().st_size
            staged.unlink()

    def remove(self, names: Iterable[str]) -> None:
        """Delete the objects of these names, and what was begun of them.

        Raises
        ------
        PeerError
            The store is away, or refuses.
        """
        wanted = set(names) - {""}
        if wanted:
            self._store.abort_uploads({self._key(name) for name in wanted})
        for name in sorted(wanted & self._sizes.keys()):
            self._store.delete(self._key(name))
            del self._sizes[name]

    def _key(self, name: str) -> str:
        return self._store.url.root + name

    @property
    def _sizes(self) -> dict[str, int]:
        if self._listed is None:
            root = self._store.url.root
            listed = {each.key.removeprefix(root): each.size for each in self._store.objects()}
            # Without the empty objects by which stores name folders, OUT's own among them.
            self._listed = {
                name: size for name, size in listed.items() if size or name[-1:] not in ("", "/")
            }
        return self._listed
