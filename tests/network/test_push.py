"""What is pushed: only what was written, as it was written, and what is said of it."""

from pathlib import Path

import pytest

from medprotect.errors import OutputError
from medprotect.network.ledger import Fate, Ledger
from medprotect.network.push import push
from medprotect.plan.selection import find_candidates
from medprotect.protect.engine import protect_export
from medprotect.protect.settings import Settings

from ..confounder.measured_pipeline import CAVEAT, make_measured, make_pipeline
from .conftest import DATA, KEY, Served, Taking


def test_a_node_without_a_peer_has_all_of_out_pushed(served: Served) -> None:
    pushed = push(served.out, served.state, peer := Taking())
    assert sorted(peer.taken) == served.files()
    assert pushed.became == {"sent": 3}
    assert pushed.sent.states == {"weak": 3}
    assert pushed.sent.summary == (
        "A model still learns as much from 2 of 3 files as from the originals (protection 0.00); "
        "1 more is weak (0.37)."
    )


def test_of_a_node_only_what_it_wrote_as_it_wrote_it(served: Served) -> None:
    first, second, _ = served.files()
    first.write_bytes(first.read_bytes() + b"\0")
    (served.out / "clean.dcm").write_bytes((DATA / "CT_small.dcm").read_bytes())
    with Ledger(served.state) as ledger:
        place = second.relative_to(served.out).as_posix()
        (line,) = [each for each in ledger.waiting() if each.place == place]
        ledger.mark(line.name, Fate.FORWARDED)
    pushed = push(served.out, served.state, peer := Taking())
    assert peer.taken == served.files()[2:-1]
    assert pushed.became == {"not_as_written": 1, "sent": 1}
    assert pushed.sent.total() == 1


def test_what_the_peer_refuses_is_not_told_as_sent(served: Served) -> None:
    pushed = push(served.out, served.state, Taking(refused=2))
    assert pushed.became == {"status_0110": 2, "sent": 1}
    assert pushed.sent.total() == 1


def test_of_a_run_it_says_what_was_sent_without_noise(tmp_path: Path) -> None:
    (export := tmp_path / "export").mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm", "reportsi.dcm"):
        (export / name).write_bytes((DATA / name).read_bytes())
    out, state = tmp_path / "out", tmp_path / "out.medprotect"
    ct = make_pipeline(tmp_path / "ct", "ct", standard=0.0)
    own = find_candidates([str(ct), str(make_pipeline(tmp_path / "mr", "mr"))])
    settings = Settings(export=export, out=out, state=state, candidates=own, copy_others=True)
    protect_export(settings, KEY)
    pushed = push(out, state, Taking())
    assert pushed.became == {"sent": 3}
    assert pushed.sent.states == {"weak": 1, "unmeasured": 1, "copied": 1}
    assert pushed.sent.summary == (
        "A model still learns as much from 1 of 2 files as from the originals (protection 0.00); "
        "1 is unmeasured."
    )


def test_it_says_to_what_the_protection_of_what_was_sent_falls(tmp_path: Path) -> None:
    (export := tmp_path / "export").mkdir()
    (export / "a.dcm").write_bytes((DATA / "CT_small.dcm").read_bytes())
    out, state = tmp_path / "out", tmp_path / "out.medprotect"
    own = find_candidates([str(make_measured(tmp_path / "own"))])
    protect_export(Settings(export=export, out=out, state=state, candidates=own), KEY)
    assert push(out, state, Taking()).sent.caveat == CAVEAT


def test_an_export_that_is_named_by_mistake_stays(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        push(tmp_path / "export", tmp_path / "export.medprotect", Taking())
