"""Processes that work for another one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from medprotect.errors import MedprotectError
from medprotect.protect.processes import spread

ORPHANS = """
import sys, time
from medprotect.protect.processes import spread
from tests.protect.test_processes import note_and_wait
list(spread(note_and_wait, sys.argv[1], range(2), 2))
"""


def add(shared: int, asked: int) -> tuple[int, int]:
    time.sleep(0.02 * (asked % 3))  # so that they end in another order
    return shared + asked, os.getpid()


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
    time.sleep(300)


@pytest.fixture(autouse=True)
def found_by_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What they are to do stands in this module: they must find it, however tests are started."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2])


class TestSpread:
    def test_answers_come_in_order_from_several_processes(self) -> None:
        answers = list(spread(add, 100, range(30), 2))
        assert [answer for answer, _ in answers] == list(range(100, 130))
        assert len({process for _, process in answers} | {os.getpid()}) == 3

    def test_tasks_are_drawn_as_answers_are_taken(self) -> None:
        drawn: list[int] = []

        def tasks() -> Iterator[int]:
            for number in range(100):
                drawn.append(number)
                yield number

        answers = spread(add, 0, tasks(), 2)
        next(answers)
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
            wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
        finally:
            parent.kill()
            parent.wait()
        working = [int(path.name) for path in tmp_path.iterdir()]
        wait_until(lambda: not any(is_running(each) for each in working))


def is_running(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"  # which somebody else is to clear away


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)
