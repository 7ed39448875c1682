"""Whom images are sent to: C-STORE, each in the form it has on the disk."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from medprotect.errors import ConfigError, PeerError
from medprotect.network.tls import Tls

CONTEXTS = 120
"""Most kinds of objects of one association, of 128 that the standard allows."""

OBJECTS = 100
"""Most objects of one association."""

_WARNINGS = frozenset({0xB000, 0xB006, 0xB007})
"""The peer has stored the object, and says that it changed or doubts something (PS3.4 B.2.3)."""


def title_of(text: str) -> str:
    """Return an application entity's title.

    Raises
    ------
    ConfigError
        It is none.
    """
    title = text.strip()
    if not 0 < len(title) <= 16 or "\\" in title or not title.isascii() or not title.isprintable():
        raise ConfigError("An AE title has 1 to 16 plain characters.")
    return title


@dataclass(frozen=True, slots=True)
class Peer:
    """A DICOM node that takes images.

    Attributes
    ----------
    title : str
        Its application entity's title.
    host : str
        Name or address.
    port : int
        Its port.
    own_title : str
        Ours.
    tls : Tls or None
        How to speak TLS to it; None for plain DICOM.
    """

    title: str
    host: str
    port: int
    own_title: str = "MEDPROTECT"
    tls: Tls | None = field(default=None, kw_only=True)

    @classmethod
    def parse(cls, text: str, own_title: str = "MEDPROTECT", *, tls: Tls | None = None) -> Self:
        """Read ``TITLE@HOST:PORT``.

        Raises
        ------
        ConfigError
            It is something else.
        """
        title, at, place = text.rpartition("@")
        host, _, port = place.rpartition(":")
        if not at or not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ConfigError("Name the peer as TITLE@HOST:PORT.")
        return cls(title_of(title), host.strip("[]"), int(port), title_of(own_title), tls=tls)

    def send(self, files: list[Path]) -> Iterator[tuple[Path, str]]:
        """Send files, and yield each as the peer answers, with "" or why the peer does not take it.

        Parameters
        ----------
        files : list of Path
            DICOM files with file meta information.

        Raises
        ------
        PeerError
            The peer is away, or goes away under way; the files not yielded were not taken.
        """
        kinds = {file: _kind_of(file) for file in files}
        pending = list(files)
        while pending:
            chosen: list[Path] = []
            asked: set[tuple[str, str]] = set()
            while pending and len(chosen) < OBJECTS and len(asked) < CONTEXTS:
                chosen.append(pending.pop(0))
                asked |= {kinds[chosen[-1]]} - {("", "")}
            if not asked:
                yield from ((file, "not_dicom") for file in chosen)
                continue
            with self.associated(asked) as association:
                for file in chosen:
                    yield file, _store(association, file, kinds[file])

    @contextmanager
    def associated(
        self, kinds: Iterable[tuple[str, str]], *, patience_seconds: float = 30
    ) -> Iterator[Any]:
        """Hold an association until the block ends.

        Parameters
        ----------
        kinds : iterable of (str, str)
            SOP class and transfer syntax of each kind that is asked for.
        patience_seconds : float
            How long an answer may take.

        Yields
        ------
        pynetdicom.association.Association
            Established, or none of the kinds was accepted.

        Raises
        ------
        PeerError
            The peer is away, or refuses us.
        """
        from pynetdicom import AE, _config

        _config.STORE_SEND_CHUNKED_DATASET = True  # the bytes of the file, not written anew
        entity = AE(self.own_title)
        entity.connection_timeout = 15
        entity.dimse_timeout = entity.network_timeout = patience_seconds
        for sop_class, syntax in sorted(kinds):
            entity.add_requested_context(sop_class, syntax)
        speaks = (self.tls.client(), self.host) if self.tls else None
        try:
            association = entity.associate(
                self.host, self.port, ae_title=self.title, tls_args=speaks
            )
        except (OSError, RuntimeError) as error:
            raise PeerError(f"the peer cannot be reached ({type(error).__name__})") from None
        if association.is_rejected:
            raise PeerError(
                "the peer refuses the connection; check that it knows our AE title, and its own AE "
                "title"
            )
        if not association.is_established and not association.rejected_contexts:
            raise PeerError(
                "the peer cannot be reached or closed the connection; check that both sides use "
                "TLS, or none"
            )
        try:
            yield association
        finally:
            if association.is_established:
                association.release()


def _kind_of(file: Path) -> tuple[str, str]:
    """Return SOP class and transfer syntax; ("", "") of what cannot be sent as it is."""
    from pydicom.errors import InvalidDicomError
    from pydicom.filereader import read_file_meta_info

    try:
        meta = read_file_meta_info(file)
        return str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)
    except (OSError, InvalidDicomError, AttributeError, ValueError):
        return "", ""


def _store(association: Any, file: Path, kind: tuple[str, str]) -> str:
    """Send one file; return "" where it was taken, else a word for why not."""
    if kind == ("", ""):
        return "not_dicom"
    accepted = {
        (str(context.abstract_syntax), str(context.transfer_syntax[0]))
        for context in association.accepted_contexts
    }
    if kind not in accepted:
        return "kind_not_accepted"
    if not association.is_established:
        raise PeerError("the peer closed the connection")
    try:
        status = association.send_c_store(file)
    except (RuntimeError, ValueError, OSError) as error:
        if not association.is_established:
            raise PeerError("the peer closed the connection") from None
        return f"not_sent_{type(error).__name__}"
    if "Status" not in status:
        raise PeerError("the peer closed the connection before it answered")
    if status.Status == 0 or status.Status in _WARNINGS:
        return ""
    return f"status_{status.Status:04x}"


def require_pynetdicom() -> None:
    """See that what speaks DICOM is installed, and keep it quiet: it quotes headers.

    Raises
    ------
    ConfigError
        It is not.
    """
    import logging
    import warnings

    try:
        import pynetdicom  # noqa: F401
    except ImportError:
        raise ConfigError(
            "DICOM over the network needs the extra 'node': pip install 'medprotect[node]'."
        ) from None
    logger = logging.getLogger("pynetdicom")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    warnings.simplefilter("ignore")
