"""What listens: C-ECHO and C-STORE, from those who may."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from medprotect.errors import ConfigError, MedprotectError, OutputError
from medprotect.network.spool import Spool
from medprotect.network.tls import Tls

SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where a node listens, and to whom.

    Attributes
    ----------
    address : str
        Of this machine; loopback unless others are to reach it.
    port : int
        The port.
    title : str
        The node's AE title: who calls another is refused.
    allowed : tuple of str
        AE titles that may call; all where there are none, which only loopback may have.
    tls : Tls
        Plain DICOM where it holds no certificate.

    Raises
    ------
    ConfigError
        Everybody could call from everywhere.
    """

    address: str = "127.0.0.1"
    port: int = 11112
    title: str = "MEDPROTECT"
    allowed: tuple[str, ...] = ()
    tls: Tls = field(default_factory=Tls)

    def __post_init__(self) -> None:
        if self.address not in _LOOPBACK and not self.allowed:
            raise ConfigError(
                "With --bind, give --allow TITLE for each AE title that may send to the node."
            )


@contextmanager
def listening(where: Listening, spool: Spool) -> Iterator[None]:
    """Take objects in until the block ends.

    Raises
    ------
    OutputError
        The address cannot be listened on.
    ConfigError
        TLS cannot be spoken.
    """
    from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
    from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

    entity = AE(where.title)
    entity.require_called_aet = True
    entity.require_calling_aet = list(where.allowed)
    entity.add_supported_context(Verification)
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(str(context.abstract_syntax), ALL_TRANSFER_SYNTAXES)

    def store(event: Any) -> int:
        return take_in(event, spool)

    try:
        server = entity.start_server(
            (where.address, where.port),
            block=False,
            evt_handlers=[(evt.EVT_C_STORE, store)],
            ssl_context=where.tls.server(),
        )
    except OSError as error:
        raise OutputError(
            f"cannot listen on port {where.port} ({error.strerror}); another node may be running"
        ) from None
    try:
        yield
    finally:
        entity.shutdown()
        del server


def take_in(event: Any, spool: Spool) -> int:
    """Answer a C-STORE: success once the object is in the spool and on the disk, and not before."""
    from pynetdicom.dsutils import encode_file_meta

    try:
        head = b"\0" * 128 + b"DICM" + encode_file_meta(event.file_meta)
        spool.receive(head, event.request.DataSet.getbuffer())
    except MedprotectError:
        return OUT_OF_RESOURCES
    except Exception:  # a sender must not end the association by what it says of an object
        return CANNOT_UNDERSTAND
    return SUCCESS
