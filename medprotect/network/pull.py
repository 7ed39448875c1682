"""Pulling: an archive is asked which studies it has, and told to send them to a node (C-MOVE)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from medprotect.errors import ConfigError, PeerError
from medprotect.network.peer import Peer

IMPLICIT = "1.2.840.10008.1.2"
_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
"""Study Root Query/Retrieve, by C-FIND and C-MOVE (PS3.4 C.6.2)."""

_SECONDS = 3600.0
"""An archive may fetch a study from tape, and need not say anything meanwhile."""

_SUCCESS, _PENDING, _SOME_FAILED = 0x0000, frozenset({0xFF00, 0xFF01}), 0xB000
_NO_DESTINATION = 0xA801
_DATES = re.compile(r"(\d{8})?-?(\d{8})?")
_UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which studies; all that is given must hold.

    Attributes
    ----------
    study : str
        Study Instance UID.
    patient : str
        Patient ID, as the archive spells it.
    accession : str
        Accession Number.
    modality : str
        One of the Modalities in Study.
    dates : str
        ``YYYYMMDD``, ``YYYYMMDD-YYYYMMDD``, or open at one side (PS3.4 C.2.2.2.5).

    Raises
    ------
    ConfigError
        Nothing is given, so that all of an archive would come; or a value is none of its kind, or
        holds a wild card.
    """

    study: str = ""
    patient: str = ""
    accession: str = ""
    modality: str = ""
    dates: str = ""

    def __post_init__(self) -> None:
        given = (self.study, self.patient, self.accession, self.modality, self.dates)
        if not any(given):
            raise ConfigError(
                "Say which studies, with --study, --studies, --patient, --accession, --modality or "
                "--dates."
            )
        if any(sign in value for value in given for sign in "*?\\"):
            raise ConfigError("A study cannot be named with * ? or \\.")
        if self.study and not _UID.fullmatch(self.study):
            raise ConfigError("A Study Instance UID consists of digits and points.")
        if self.dates and (self.dates == "-" or not _DATES.fullmatch(self.dates)):
            raise ConfigError("Dates are YYYYMMDD, or YYYYMMDD-YYYYMMDD.")

    def identifier(self) -> Any:
        """Return it as a data set for C-FIND."""
        from pydicom import Dataset

        wanted = Dataset()
        wanted.QueryRetrieveLevel = "STUDY"
        wanted.StudyInstanceUID = self.study
        wanted.PatientID = self.patient
        wanted.AccessionNumber = self.accession
        wanted.ModalitiesInStudy = self.modality
        wanted.StudyDate = self.dates
        return wanted


@dataclass(frozen=True, slots=True)
class Moved:
    """What an archive says of sending one study: its objects, those sent, those not."""

    sent: int
    failed: int


def find_studies(archive: Peer, query: Query) -> list[str]:
    """Return the Study Instance UIDs of what an archive has, each once.

    Raises
    ------
    PeerError
        It is away, answers no queries, or breaks off.
    """
    found: dict[str, None] = {}
    with archive.associated([(_FIND, IMPLICIT)], patience_seconds=_SECONDS) as association:
        _require(association, "queries (C-FIND)")
        for status, answer in association.send_c_find(query.identifier(), _FIND):
            code = _status(status)
            if code not in _PENDING and code != _SUCCESS:
                raise PeerError(f"the archive did not answer the query (status {code:04x})")
            if code in _PENDING and answer is not None and _fits(answer, query):
                found[str(answer.StudyInstanceUID)] = None
    return list(found)


def _fits(answer: Any, query: Query) -> bool:
    """Whether a study is one asked for: an archive may leave a key out of account."""
    if not answer.get("StudyInstanceUID"):
        return False
    modalities = answer.get("ModalitiesInStudy")
    if not query.modality or not modalities:
        return True
    return query.modality in ([modalities] if isinstance(modalities, str) else list(modalities))


def move(archive: Peer, studies: list[str], destination: str) -> Iterator[Moved]:
    """Have an archive send studies to a node, and yield what became of each.

    Parameters
    ----------
    archive : Peer
        Knows the address that belongs to `destination`; it is set there, not here.
    studies : list of str
        Study Instance UIDs.
    destination : str
        AE title of the node.

    Raises
    ------
    PeerError
        The archive is away, does not know the destination, or breaks off.
    """
    from pydicom import Dataset

    with archive.associated([(_MOVE, IMPLICIT)], patience_seconds=_SECONDS) as association:
        _require(association, "retrievals (C-MOVE)")
        for study in studies:
            wanted = Dataset()
            wanted.QueryRetrieveLevel = "STUDY"
            wanted.StudyInstanceUID = study
            yield _moved(association.send_c_move(wanted, destination, _MOVE), destination)


def _moved(answers: Any, destination: str) -> Moved:
    moved = Moved(0, 0)
    for status, _ in answers:
        code = _status(status)
        if code == _NO_DESTINATION:
            raise PeerError(
                f"the archive does not know {destination}: have its host and port entered there"
            )
        if code not in _PENDING and code not in (_SUCCESS, _SOME_FAILED):
            return Moved(moved.sent, max(moved.failed, 1))
        sent = int(status.get("NumberOfCompletedSuboperations", 0) or 0)
        sent += int(status.get("NumberOfWarningSuboperations", 0) or 0)
        failed = int(status.get("NumberOfFailedSuboperations", 0) or 0)
        moved = Moved(max(sent, moved.sent), max(failed, moved.failed))
    return moved


def _require(association: Any, what: str) -> None:
    if not association.is_established or not association.accepted_contexts:
        raise PeerError(f"the archive does not accept {what} from this AE title")


def _status(status: Any) -> int:
    if "Status" not in status:
        raise PeerError("the archive closed the connection before it answered")
    return int(status.Status)
