"""Processes that work for another one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from medprotect.errors import MedprotectError
from medprotect.protect.processes import spread

from ..waiting import HANG_SECONDS, wait_for

ORPHANS = """
import sys, time
from medprotect.protect.processes import spread
from tests.protect.test_processes import note_and_wait
list(spread(note_and_wait, sys.argv[1], range(2), 2))
"""


def add(shared: int, asked: int) -> int:
    return shared + asked


def name_process(folder: str, asked: int) -> tuple[int, int]:
    """Answer the first task after the second, which another process must then have taken."""
    if asked == 0:
        wait_for(Path(folder, "1").exists, "nobody took the second task")
    Path(folder, str(asked)).touch()
    return asked, os.getpid()


def fail(shared: type[Exception], asked: int) -> int:
    if asked == 2:
        raise shared("of the third")
    return asked


def crash(shared: int, asked: int) -> int:
    if asked == shared:
        os.kill(os.getpid(), signal.SIGSEGV)
    return asked


def note_and_wait(folder: str, asked: int) -> None:
    Path(folder, str(os.getpid())).touch()
    time.sleep(2 * HANG_SECONDS)


@pytest.fixture(autouse=True)
def found_by_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What they are to do stands in this module: they must find it, however tests are started."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2])


class TestSpread:
    def test_answers_come_in_order_from_several_processes(self, tmp_path: Path) -> None:
        answers = list(spread(name_process, str(tmp_path), range(30), 2))
        assert [answer for answer, _ in answers] == list(range(30))
        assert len({process for _, process in answers} | {os.getpid()}) == 3

    def test_tasks_are_drawn_as_answers_are_taken(self) -> None:
        drawn: list[int] = []

        def tasks() -> Iterator[int]:
            for number in range(100):
                drawn.append(number)
                yield number

        answers = spread(add, 100, tasks(), 2)
        assert next(answers) == 100
        assert len(drawn) < 20
        del answers

    def test_an_error_comes_where_its_answer_would(self) -> None:
        answers = spread(fail, KeyError, range(5), 2)
        assert [next(answers), next(answers)] == [0, 1]
        with pytest.raises(KeyError, match="of the third"):
            next(answers)

    def test_a_process_that_crashes_is_an_error_of_ours(self) -> None:
        with pytest.raises(MedprotectError, match="--jobs 1"):
            list(spread(crash, 3, range(5), 2))

    def test_they_end_when_their_parent_is_killed(self, tmp_path: Path) -> None:
        parent = subprocess.Popen([sys.executable, "-c", ORPHANS, str(tmp_path)])
        try:
            wait_for(lambda: len(list(tmp_path.iterdir())) == 2, "two processes did not begin")
        finally:
            parent.kill()
            parent.wait()
        working = [int(path.name) for path in tmp_path.iterdir()]
        wait_for(lambda: not any(map(is_running, working)), "they outlived their parent")


def is_running(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"  # which somebody else is to clear away
