"""The spool and its batches: whenever a node is killed, the next one finds every object once."""

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from medprotect.confounder.key import Key
from medprotect.confounder.measured import Measured
from medprotect.errors import ConfigError, OutputError, StateMismatchError, StorageError
from medprotect.network import batches as batches_module
from medprotect.network.batches import Batches, place_of
from medprotect.network.ledger import Fate, Ledger, Line
from medprotect.network.node import count_all
from medprotect.network.peer import Peer
from medprotect.network.server import Listening
from medprotect.network.spool import Spool
from medprotect.network.tls import Tls
from medprotect.plan.selection import find_candidates
from medprotect.protect.atomic import check_space
from medprotect.protect.settings import Settings


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (folder := tmp_path / "out.medprotect").mkdir()
    return folder


@pytest.fixture
def ledger(state: Path) -> Iterator[Ledger]:
    with Ledger(state) as opened:
        yield opened


@pytest.fixture
def spool(state: Path, ledger: Ledger) -> Spool:
    return Spool(state, ledger)


def receive(spool: Spool, *objects: bytes) -> None:
    for data in objects:
        spool.receive(b"head", memoryview(data))


class TestSpool:
    def test_the_same_bytes_are_one_object_before_and_after_it_is_in_a_batch(
        self, spool: Spool
    ) -> None:
        receive(spool, b"one", b"two", b"one")
        assert len(spool.waiting()) == 2
        spool.gather(spool.waiting())
        receive(spool, b"one")
        assert spool.waiting() == []
        assert list(spool.incoming.iterdir()) == []

    def test_a_kill_while_a_batch_is_made_is_made_up_for(
        self, spool: Spool, ledger: Ledger
    ) -> None:
        receive(spool, b"one", b"two")
        number = ledger.begin(spool.waiting())  # killed before the files moved
        spool.clear()
        spool.fill(number)
        assert len(list((spool.batch(number) / "export").iterdir())) == 2
        assert list(spool.incoming.iterdir()) == []

    def test_what_was_not_acknowledged_is_removed_and_nothing_else(self, spool: Spool) -> None:
        receive(spool, b"one")
        (spool.incoming / "half.part").write_bytes(b"o")
        spool.clear()
        assert [path.suffix for path in spool.incoming.iterdir()] == [".dcm"]

    def test_a_full_disk_refuses_and_leaves_nothing(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "medprotect.network.spool.check_space",
            lambda folder, needed: check_space(folder, needed + 2**62),
        )
        with pytest.raises(StorageError):
            receive(spool, b"one")
        assert list(spool.incoming.iterdir()) == []

    def test_a_batch_is_made_when_nothing_came_for_a_while(self, spool: Spool) -> None:
        assert not spool.is_settled([], 0)
        receive(spool, b"one")
        assert not spool.is_settled(spool.waiting(), 30)
        assert spool.is_settled(spool.waiting(), 0)

    def test_what_was_rejected_is_received_again_when_asked(
        self, spool: Spool, ledger: Ledger
    ) -> None:
        receive(spool, b"one")
        number = spool.gather(names := spool.waiting())
        ledger.decide([Line(names[0], Fate.REJECTED, reason="corrupt")])
        spool.set_aside(spool.batch(number) / "export" / names[0], Fate.REJECTED)
        ledger.close(number)
        assert ledger.reasons() == {"corrupt": 1}
        assert spool.take_back() == 1
        spool.clear()
        assert spool.waiting() == names


class TestLedger:
    def test_of_another_format_is_refused(self, state: Path) -> None:
        import sqlite3

        connection = sqlite3.connect(state / "ledger.sqlite")
        connection.execute("PRAGMA user_version=99")
        connection.close()
        with pytest.raises(StateMismatchError):
            Ledger(state)

    def test_of_an_earlier_format_is_brought_up_to_date_by_the_node(self, state: Path) -> None:
        import sqlite3

        connection = sqlite3.connect(state / "ledger.sqlite")
        connection.executescript(
            "CREATE TABLE objects (name TEXT PRIMARY KEY, batch INTEGER NOT NULL, "
            "state TEXT NOT NULL, fate TEXT NOT NULL DEFAULT '', place TEXT NOT NULL DEFAULT '', "
            "reason TEXT NOT NULL DEFAULT '') STRICT;"
            "CREATE TABLE uids (name TEXT PRIMARY KEY, uid TEXT NOT NULL) STRICT;"
            "INSERT INTO objects VALUES ('a', 1, 'protected', 'protected', '1/2/3.dcm', '');"
            "INSERT INTO objects VALUES ('b', 1, 'forwarded', 'protected', '1/2/4.dcm', '');"
            "INSERT INTO objects VALUES ('c', 1, 'rejected', 'rejected', '', 'corrupt');"
            "PRAGMA user_version=1;"
        )
        connection.close()
        with pytest.raises(StateMismatchError, match="start the node"):
            Ledger(state, reading=True)
        for _ in range(2):
            with Ledger(state) as ledger:
                assert [line.name for line in ledger.waiting()] == ["a"]
                assert ledger.tally() == {("unmeasured", None): 2}
                assert ledger.reasons() == {"corrupt": 1}
        with Ledger(state, reading=True) as ledger:
            assert [line.fate for line in ledger.lines(1)] == [
                *(Fate.IN_OUT, Fate.IN_OUT),
                Fate.REJECTED,
            ]

    def test_of_format_2_it_said_the_protection_alone(self, state: Path) -> None:
        import sqlite3

        with Ledger(state) as ledger:
            ledger.begin(["a"])
            ledger.decide([Line("a", Fate.IN_OUT, outcome="weak", measured=Measured(0.26, 0.1))])
            ledger.close(1)
        connection = sqlite3.connect(state / "ledger.sqlite")
        connection.executescript(
            "ALTER TABLE objects DROP COLUMN with_10_images; ALTER TABLE objects DROP COLUMN worst;"
            "ALTER TABLE objects DROP COLUMN worst_countermeasure; PRAGMA user_version=2;"
        )
        connection.close()
        with pytest.raises(StateMismatchError, match="start the node"):
            Ledger(state, reading=True)
        with Ledger(state) as ledger:
            assert ledger.tally() == {("weak", Measured(0.26)): 1}
            assert [line.measured for line in ledger.lines(1)] == [Measured(0.26)]

    @pytest.mark.parametrize(
        "measured", [None, Measured(0.26), Measured(0.26, 0.1, 0.05, "jpeg-10")]
    )
    def test_keeps_what_was_measured(self, ledger: Ledger, measured: Measured | None) -> None:
        ledger.begin(["a"])
        ledger.decide([Line("a", Fate.IN_OUT, outcome="weak", measured=measured)])
        ledger.close(1)
        (line,) = ledger.waiting()
        assert line.measured == measured
        assert ledger.tally() == {("weak", measured): 1}

    def test_keeps_to_one_key(self, ledger: Ledger) -> None:
        ledger.claim_key("one")
        ledger.claim_key("one")
        with pytest.raises(StateMismatchError, match="key one"):
            ledger.claim_key("two")

    def test_a_file_that_is_none_is_refused(self, state: Path) -> None:
        (state / "ledger.sqlite").write_bytes(b"no database, but long enough to be one" * 100)
        with pytest.raises(StateMismatchError):
            Ledger(state)

    def test_where_there_is_none_there_is_no_node(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError):
            count_all(tmp_path / "out", tmp_path / "state")


class TestBatches:
    @pytest.fixture
    def batches(self, tmp_path: Path, spool: Spool, ledger: Ledger) -> Batches:
        place = tmp_path / "unused"
        settings = Settings(
            export=place, out=place, state=place, candidates=find_candidates(["auto"])
        )
        return Batches(settings, Key.new(), tmp_path / "out", spool, ledger)

    def test_a_kill_at_each_step_ends_with_each_object_in_one_place(
        self,
        tmp_path: Path,
        state: Path,
        spool: Spool,
        ledger: Ledger,
        batches: Batches,
        pydicom_file: Callable[[str], Path],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        dataset = dcmread(pydicom_file("CT_small.dcm"))
        for number in range(3):
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.{number}"
            stream = BytesIO()
            dataset.save_as(stream)
            receive_file(spool, stream.getvalue())
        receive_file(spool, pydicom_file("MR_truncated.dcm").read_bytes())
        number = spool.gather(spool.waiting())

        class KilledError(BaseException):
            pass

        kept = batches_module.publish
        moved = []

        def publish_one(*arguments: Path, **options: bool) -> None:
            if moved:
                raise KilledError
            moved.append(arguments)
            kept(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(batches_module, "publish", publish_one)
            with pytest.raises(KilledError):
                batches.finish(number)
        assert ledger.open_batch() == number
        spool.clear()
        assert batches.finish(number) == 0
        written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
        assert len(written) == 3
        assert {dcmread(path).SOPInstanceUID for path in written} == {p.stem for p in written}
        assert len(list((state / "rejected").iterdir())) == 1
        assert not (spool.batch(number) / "export").exists()
        counts = count_all(tmp_path / "out", state).as_json()
        assert counts["in"] == 4
        assert (counts["in_out"], counts["rejected"]) == (3, 1)
        assert counts["states"] == {"weak": 3}

    @pytest.mark.filterwarnings("ignore")
    def test_a_uid_that_is_none_names_no_place_outside_out(self, tmp_path: Path) -> None:
        from pydicom import Dataset

        dataset = Dataset()
        dataset.StudyInstanceUID, dataset.SOPInstanceUID = "..", "1.2.3"
        dataset.save_as(tmp_path / "a.dcm", implicit_vr=True, little_endian=True)
        assert place_of(tmp_path / "a.dcm") == "none/none/1.2.3.dcm"


def receive_file(spool: Spool, data: bytes) -> None:
    spool.receive(data[:132], memoryview(data)[132:])


class TestOptions:
    @pytest.mark.parametrize(
        "text", ["HOST:104", "A@host", "A@host:0", "A@host:x", "@host:1", "A" * 17 + "@h:1"]
    )
    def test_a_peer_that_is_none_is_refused(self, text: str) -> None:
        with pytest.raises(ConfigError):
            Peer.parse(text)

    def test_a_peer_is_read(self) -> None:
        peer = Peer.parse("RESEARCH@host.example:104", "US")
        assert (peer.title, peer.host, peer.port) == ("RESEARCH", "host.example", 104)
        assert peer.own_title == "US"

    def test_the_world_does_not_get_in_without_a_list(self) -> None:
        with pytest.raises(ConfigError):
            Listening(address="0.0.0.0")  # noqa: S104
        Listening(address="0.0.0.0", allowed=("CT1",))  # noqa: S104

    def test_tls_files_that_are_none_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError):
            Tls(tmp_path / "no.pem").server()
        with pytest.raises(ConfigError):
            Tls(key=tmp_path / "no.pem").server()
        assert Tls().server() is None
