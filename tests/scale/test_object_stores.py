"""Runs whose EXPORT, OUT or both lie in an object store: a real service on loopback."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

pytest.importorskip("s3fs")
pytest.importorskip("moto")

import _socket

from medprotect.cli.places import find_places, find_trees
from medprotect.confounder.key import Key
from medprotect.errors import (
    ConfigError,
    InputChangedError,
    InputError,
    MedprotectError,
    OutputError,
    PeerError,
    UnsafePathError,
)
from medprotect.plan.selection import find_candidates
from medprotect.protect.dry_run import plan_export
from medprotect.protect.engine import protect_export
from medprotect.protect.journal import Entry
from medprotect.protect.pool import Pool
from medprotect.protect.settings import Settings
from medprotect.protect.summary import Progress, Summary
from medprotect.protect.verify import verify_run
from medprotect.scale import object_store
from medprotect.scale.object_store import Store
from medprotect.scale.store_url import StoreUrl, check_endpoint
from medprotect.scale.stored_export import StoredExport

from ..e2e.seeds import MAKERS, nifti_pair
from ..protect.test_remapping import build, written
from .object_server import BUCKET, PAGE, SECRET, ObjectServer, Program, files, object_server

KEY = Key(bytes(range(32)))
EXPORT, OUT = f"s3://{BUCKET}/export", f"s3://{BUCKET}/out"
DRY = """
import sys
from medprotect.cli import app
app(["run", sys.argv[1], sys.argv[2], "--dry-run"], standalone_mode=False)
assert {"fsspec", "s3fs", "botocore", "aiohttp"}.isdisjoint(sys.modules)
"""
HOSTILE = {
    "../over.dcm": "rejected",
    "a//b.dcm": "rejected",
    "./c.dcm": "rejected",
    "folder/": "left",
    "filled/": "rejected",
    "": "left",
    "nul\0.dcm": "rejected",
    "n" * 256: "rejected",
    "back\\slash.txt": "copied",
    "a b+c%20?#.txt": "copied",
    "\u00e9.txt": "copied",
}


@pytest.fixture(scope="module", autouse=True)
def loopback(no_network: None) -> Iterator[None]:
    """This machine, and no other, may be reached."""

    def connect(self: socket.socket, address: Any) -> None:
        assert self.family == socket.AF_UNIX or address[0] == "127.0.0.1", address
        _socket.socket.connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect)
        yield


@pytest.fixture(scope="module")
def service() -> Iterator[ObjectServer]:
    with object_server() as server:
        yield server


@pytest.fixture
def server(service: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> ObjectServer:
    """The service, empty."""
    service.empty()
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)
    return service


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file-set whose slices refer to each other, a report on them, voxels apart, a picture."""
    folder = build(tmp_path_factory.mktemp("tree"))
    for name, data in zip(("volume.hdr", "volume.img"), nifti_pair(1), strict=True):
        (folder / name).write_bytes(data)
    (folder / "picture.png").write_bytes(MAKERS["png"]())
    (folder / "cut.png").write_bytes(MAKERS["png"]()[:40])
    return folder


@pytest.fixture(scope="module")
def base(tree: Path) -> dict[str, bytes]:
    """What a run of folders makes of it."""
    run(str(tree), str(tree.with_name("out")), tree.with_name("out.medprotect"))
    return files(tree.with_name("out"))


def settings(export: str, out: str, state: Path, **options: Any) -> tuple[Settings, Any]:
    places = find_places(export, out, state)
    fields = {"candidates": find_candidates(["auto"]), "copy_others": True}
    return Settings(**places.fields() | fields | options), places.hire or Pool


def run(
    export: str, out: str, state: Path, progress: Progress | None = None, **options: Any
) -> Summary:
    asked, hire = settings(export, out, state, **options)
    return protect_export(asked, KEY, progress, hire=hire)


def outcomes(summary: Summary) -> dict[str, str]:
    return {entry.path: entry.outcome.value for entry in summary.entries}


def at_file(number: int, act: Callable[[], None]) -> Progress:
    """Tell a run that acts once it has come so far."""
    seen: list[Entry] = []

    def done(_number: int, entry: Entry) -> None:
        seen.append(entry)
        if len(seen) == number:
            act()

    return Progress(done=done)


@pytest.mark.parametrize(("from_store", "to_store"), [(True, True), (True, False), (False, True)])
def test_what_comes_out_is_what_a_run_of_folders_writes(
    tree: Path,
    base: dict[str, bytes],
    server: ObjectServer,
    tmp_path: Path,
    from_store: bool,
    to_store: bool,
) -> None:
    clean = files(tree)
    server.put(clean, "export/")
    export = EXPORT if from_store else str(tree)
    out = OUT if to_store else str(tmp_path / "out")
    summary = run(export, out, tmp_path / "state", jobs=2)
    assert summary.exit_code == 4
    assert (server.objects("out/") if to_store else files(tmp_path / "out")) == base
    assert server.objects("export/") == clean
    assert list((tmp_path / "state" / "staging").iterdir()) == []
    receipts = [
        json.loads((state / "receipt.json").read_text())["files"]
        for state in (tmp_path / "state", tree.with_name("out.medprotect"))
    ]
    assert receipts[0] == receipts[1]
    verified = verify_run(*find_trees(export, out, tmp_path / "state"))
    assert (verified.checked, verified.faults) == (len(base), [])
    assert list((tmp_path / "state" / "staging").iterdir()) == []


def test_every_object_is_accounted_for_whatever_it_is_called(
    server: ObjectServer, tmp_path: Path
) -> None:
    server.put(dict.fromkeys(HOSTILE, b"text\n") | {"folder/": b"", "": b""}, "export/")
    before = set(tmp_path.parent.iterdir())
    summary = run(EXPORT, OUT, tmp_path / "state")
    told = {
        path.removeprefix("./") if path[:2] == "./" else path: outcome
        for path, outcome in outcomes(summary).items()
    }
    assert told == HOSTILE
    copied = {name for name, outcome in HOSTILE.items() if outcome == "copied"}
    assert server.objects("out/").keys() == copied
    assert set(tmp_path.parent.iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert verify_run(*find_trees(EXPORT, OUT, tmp_path / "state")).faults == []


def test_a_listing_of_many_pages_is_read_to_its_end(server: ObjectServer, tmp_path: Path) -> None:
    count = 3 * PAGE + 1
    server.put({f"{number:04}.txt": b"text" for number in range(count)}, "export/")
    asked, _ = settings(EXPORT, OUT, tmp_path / "state", copy_others=False)
    entries = plan_export(asked)
    assert [entry.path for entry in entries] == [f"{number:04}.txt" for number in range(count)]
    assert list(tmp_path.iterdir()) == []
    assert server.objects("out/") == {}


def test_a_run_killed_between_put_and_journal_goes_on_to_the_same_bytes(
    tree: Path, base: dict[str, bytes], server: ObjectServer, tmp_path: Path
) -> None:
    server.put(files(tree), "export/")
    program = Program(tmp_path, server, KEY)
    process = program.begin_run(EXPORT, OUT, "--state", "state", "--others", "copy")
    puts: list[str] = []

    def kill_at_the_third(method: str, key: str, _: object) -> None:
        if method == "PUT":
            puts.append(key)
            if len(puts) == 3:
                process.send_signal(signal.SIGKILL)
                process.wait()  # and this object is put all the same

    server.hook = kill_at_the_third
    _, _, said = program.end(process)
    assert len(puts) >= 3, said
    assert 0 < len(server.objects("out/")) < len(base)
    server.hook = lambda *_: None
    summary = run(EXPORT, OUT, tmp_path / "state")
    assert summary.exit_code == 4
    assert len(summary.entries) == len(files(tree))
    assert server.objects("out/") == base
    assert list((tmp_path / "state" / "staging").iterdir()) == []


def test_an_object_that_is_replaced_under_way_is_rejected_and_done_by_the_next_run(
    tree: Path, base: dict[str, bytes], server: ObjectServer, tmp_path: Path
) -> None:
    clean = files(tree)
    server.put(clean | {"volume.img": clean["volume.img"][::-1]}, "export/")

    def replace_it() -> None:
        server.put({"volume.img": clean["volume.img"]}, "export/")

    summary = run(EXPORT, OUT, tmp_path / "state", at_file(1, replace_it))
    told = outcomes(summary)
    assert (told["volume.hdr"], told["volume.img"]) == ("rejected", "rejected")
    reasons = {entry.row.reason for entry in summary.entries if entry.path.startswith("volume")}
    assert reasons == {"changed"}
    run(EXPORT, OUT, tmp_path / "state")
    assert server.objects("out/") == base


def test_a_store_that_goes_away_costs_nothing_but_another_run(
    tree: Path, base: dict[str, bytes], server: ObjectServer, tmp_path: Path
) -> None:
    server.put(files(tree), "export/")
    with pytest.raises(PeerError, match="run again") as caught:
        run(EXPORT, OUT, tmp_path / "state", at_file(2, server.stop))
    assert caught.value.exit_code == 6
    with pytest.raises(PeerError):
        run(EXPORT, OUT, tmp_path / "state")
    server.start()
    assert run(EXPORT, OUT, tmp_path / "state").exit_code == 4
    assert server.objects("out/") == base
    assert list((tmp_path / "state" / "staging").iterdir()) == []


def test_a_run_that_is_done_fetches_and_puts_nothing_again(
    server: ObjectServer, tmp_path: Path
) -> None:
    server.put({"a.png": MAKERS["png"]()}, "export/")
    run(EXPORT, OUT, tmp_path / "state")
    asked: list[str] = []
    server.hook = lambda method, key, _: asked.append(f"{method} {key}")
    assert outcomes(run(EXPORT, OUT, tmp_path / "state")) == {"a.png": "protected"}
    assert all(each.startswith(f"GET /{BUCKET}") for each in asked), asked
    run(EXPORT, OUT, tmp_path / "state", rehash=True)
    assert "GET out/a.png" in asked
    assert not any(each.startswith("PUT") for each in asked)


def test_a_plan_reads_the_beginnings_of_objects_and_writes_nothing(
    server: ObjectServer, tmp_path: Path, pydicom_file: Callable[[str], Path]
) -> None:
    dataset = dcmread(pydicom_file("CT_small.dcm"))
    dataset.Rows = dataset.Columns = 2048
    dataset.PixelData = bytes(2 * 2048 * 2048)
    server.put({f"{number}.dcm": written(dataset) for number in range(3)}, "export/")
    asked: list[str] = []
    server.hook = lambda _method, key, headers: asked.append(headers.get("HTTP_RANGE", key))
    entries = plan_export(settings(EXPORT, OUT, tmp_path / "state")[0])
    assert [entry.row.pipeline for entry in entries] == ["ct"] * 3
    assert asked.count("bytes=0-65535") == 3
    ends = [int(each.rpartition("-")[2]) for each in asked if each.startswith("bytes")]
    assert max(ends) < 512 * 1024  # of 8 MiB
    assert list(tmp_path.iterdir()) == []


def test_few_objects_lie_on_the_disk_at_once(server: ObjectServer, tmp_path: Path) -> None:
    server.put({f"{number:02}.txt": b"text" for number in range(12)}, "export/")
    there: list[int] = []

    def count(method: str, _key: str, _: object) -> None:
        if method == "PUT":
            there.append(len(list((tmp_path / "state" / "staging").glob("*.fetched"))))

    server.hook = count
    run(EXPORT, OUT, tmp_path / "state")
    assert len(there) == 12
    assert max(there) <= 3


def test_a_run_begun_anew_deletes_what_it_wrote_and_nothing_else(
    server: ObjectServer, tmp_path: Path
) -> None:
    server.put({"a.txt": b"text", "b.txt": b"text"}, "export/")
    run(EXPORT, OUT, tmp_path / "state")
    server.put({"strange": b"strange"}, "out/")
    asked, hire = settings(EXPORT, OUT, tmp_path / "state", copy_others=False)
    with pytest.raises(OutputError, match="not empty"):
        protect_export(asked, KEY, begin_anew=True, hire=hire)
    assert server.objects("out/") == {"strange": b"strange"}
    assert server.objects("export/") == {"a.txt": b"text", "b.txt": b"text"}


def test_what_lies_in_out_and_no_run_wrote_stays(server: ObjectServer, tmp_path: Path) -> None:
    server.put({"export/a.txt": b"text", "out/strange": b"strange"})
    with pytest.raises(OutputError, match="not empty"):
        run(EXPORT, OUT, tmp_path / "state")
    assert server.objects("out/") == {"strange": b"strange"}


def test_a_run_of_folders_loads_nothing_that_speaks_to_stores(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    command = [sys.executable, "-c", DRY, str(tmp_path / "in"), str(tmp_path / "out")]
    subprocess.run(command, check=True, capture_output=True)


class TestObjects:
    @pytest.fixture
    def store(self, server: ObjectServer) -> Store:
        return Store(StoreUrl.parse(OUT), OutputError)

    def test_a_large_one_is_put_in_parts_and_read_in_parts(
        self,
        store: Store,
        server: ObjectServer,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(object_store, "PART_BYTES", 5 * 1024**2)
        data = bytes(range(251)) * 50_000
        (tmp_path / "large").write_bytes(data)
        assert store.put(tmp_path / "large", "out/large")
        assert server.objects() == {"out/large": data}
        assert not store.put(tmp_path / "large", "out/large")
        assert server.uploads() == 0
        export = StoredExport(StoreUrl.parse(OUT))
        (found,) = export.walk()
        with export.open(found) as stream:
            assert stream.read(200) == data[:200]
            for start, count in ((70_000, 9), (65_530, 20), (12_000_000, 999_999), (3, 200_000)):
                stream.seek(start)
                assert stream.read(count) == data[start : start + count]
            stream.seek(0)
            assert stream.read() == data

    def test_a_name_that_is_taken_by_another_is_an_error_and_by_the_same_is_none(
        self, server: ObjectServer, tmp_path: Path
    ) -> None:
        target = settings(EXPORT, OUT, tmp_path / "state")[0].target
        assert target.is_empty()
        server.put({"same": b"same", "other": b"other"}, "out/")
        for name in ("same", "other"):
            (tmp_path / name).write_bytes(b"same")
        target.publish([(tmp_path / "same", "same")])
        with pytest.raises(OutputError, match="taken"):
            target.publish([(tmp_path / "other", "other")])
        assert server.objects("out/")["other"] == b"other"

    def test_a_store_that_knows_no_conditions_is_asked_without(
        self, store: Store, server: ObjectServer, tmp_path: Path
    ) -> None:
        def refuse(_method: str, _key: str, environ: dict[str, Any]) -> str | None:
            return "501 Not Implemented" if "HTTP_IF_NONE_MATCH" in environ else None

        server.hook = refuse
        (tmp_path / "file").write_bytes(b"data")
        assert store.put(tmp_path / "file", "out/file")
        assert server.objects("out/") == {"file": b"data"}

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            ("403 Forbidden", UnsafePathError),
            ("404 Not Found", InputChangedError),
            ("412 Precondition Failed", InputChangedError),
            ("500 Internal Server Error", PeerError),
        ],
    )
    def test_what_a_store_answers_is_the_fault_of_whom_it_names(
        self, server: ObjectServer, status: str, kind: type[MedprotectError]
    ) -> None:
        server.put({"a": b"a" * 100_000}, "export/")
        export = StoredExport(StoreUrl.parse(EXPORT))
        (found,) = export.walk()
        server.hook = lambda _method, key, _environ: status if key == "export/a" else None
        with pytest.raises(kind) as caught, export.open(found) as stream:
            stream.read()
        assert "export/a" not in str(caught.value)
        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize("cuts", [1, 2, 3])
    def test_an_object_that_breaks_off_is_asked_for_again_and_not_for_ever(
        self, server: ObjectServer, tmp_path: Path, cuts: int
    ) -> None:
        data = bytes(300_000)
        server.put({"a": data}, "export/")
        export = StoredExport(StoreUrl.parse(EXPORT))
        (found,) = export.walk()
        answers = iter([200_000, 0, 299_999][:cuts])
        server.hook = lambda *_: next(answers, None)
        if cuts < 3:
            export.store.fetch(export.stored(found), tmp_path / "a")
            assert (tmp_path / "a").read_bytes() == data
        else:
            with pytest.raises(PeerError):
                export.store.fetch(export.stored(found), tmp_path / "a")
            assert list(tmp_path.iterdir()) == []

    def test_a_reader_that_takes_a_store_away_for_damage_does_not_hide_it(
        self, server: ObjectServer
    ) -> None:
        server.put({"a": b"a"}, "export/")
        export = StoredExport(StoreUrl.parse(EXPORT))
        (found,) = export.walk()
        server.hook = lambda *_: "500 Internal Server Error"
        stream = export.open(found)
        with pytest.raises(PeerError):
            stream.read()
        with pytest.raises(PeerError):
            stream.close()

    def test_a_bucket_that_is_not_there_is_named_as_what_it_was_for(
        self, server: ObjectServer, tmp_path: Path
    ) -> None:
        with pytest.raises(InputError, match="no such bucket"):
            run("s3://not-there/export", OUT, tmp_path / "state")
        with pytest.raises(OutputError, match="no such bucket"):
            run(EXPORT, "s3://not-there/out", tmp_path / "state")


class TestWhatIsAskedFor:
    @pytest.mark.parametrize(
        "url",
        [
            "s3://",
            "s3:///export",
            "s3://id:secret@bucket/export",
            "s3://bucket/a//b",
            "s3://bucket/../b",
            "gs://bucket/export",
            "https://bucket.example/export",
        ],
    )
    def test_a_url_of_another_kind_is_refused_and_not_repeated(self, url: str) -> None:
        with pytest.raises(ConfigError, match=r"s3://BUCKET/PREFIX|prefix") as caught:
            StoreUrl.parse(url)
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize(
        ("export", "out", "options", "words"),
        [
            (EXPORT, OUT, {"state": None}, "--state"),
            (EXPORT, OUT, {"with_vault": True}, "vault"),
            (EXPORT, OUT, {"on_cluster": True}, "--engine ray"),
            (EXPORT, EXPORT + "/out", {}, "inside the other"),
            (EXPORT + "/in", EXPORT, {}, "inside the other"),
            (f"s3://{BUCKET}", OUT, {}, "inside the other"),
        ],
    )
    def test_what_cannot_be_is_said_before_anything_is_reached(
        self, export: str, out: str, options: dict[str, Any], words: str, tmp_path: Path
    ) -> None:
        with pytest.raises((ConfigError, OutputError), match=words):
            find_places(export, out, **{"state": tmp_path / "state"} | options)

    def test_prefixes_that_only_begin_alike_are_apart(self) -> None:
        one, other = StoreUrl.parse(f"{EXPORT}/"), StoreUrl.parse(f"{EXPORT}-2")
        assert not one.overlaps(other)
        assert one == StoreUrl.parse(EXPORT)

    def test_plain_http_is_for_this_machine_alone(self) -> None:
        for endpoint in ("https://s3.example", "http://127.0.0.1:9000", "http://localhost:9000"):
            check_endpoint(endpoint)
        with pytest.raises(ConfigError, match="plain HTTP"):
            check_endpoint("http://store.example:9000")

    def test_without_credentials_it_is_said_where_they_are_looked_for(
        self, server: ObjectServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.raises(ConfigError, match="AWS_PROFILE"):
            run(EXPORT, OUT, tmp_path / "state")

    def test_without_s3fs_the_extra_is_named(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setitem(sys.modules, "s3fs", None)
        with pytest.raises(ConfigError, match=r"medprotect\[s3\]"):
            find_places(EXPORT, OUT, tmp_path / "state")

    def test_a_prefix_so_long_that_keys_do_not_fit_rejects_those(
        self, server: ObjectServer, tmp_path: Path
    ) -> None:
        server.put({"a.txt": b"text", f"{'b' * 50}.txt": b"text"}, "export/")
        prefix = "/".join(["p" * 199] * 5)
        summary = run(EXPORT, f"s3://{BUCKET}/{prefix}", tmp_path / "state")
        assert sorted(outcomes(summary).values()) == ["copied", "rejected"]
