"""What an audit keeps: enough to go on, nothing that is stale, for its owner alone."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from medprotect.audit import examination
from medprotect.audit.attempt import Attempt, attempt
from medprotect.audit.budgets import Budget
from medprotect.audit.examination import Examination, examine
from medprotect.audit.pairs import Pairs
from medprotect.audit.state import UNFINISHED, State, digest
from medprotect.confounder.weights import load_tensors
from medprotect.errors import ConfigError, OutputError
from medprotect.training import checkpoint
from medprotect.training.assigning import Progress

from .stripes import covered, pairs

BUDGET = Budget(
    name="tiny", victims=("vgg",), countermeasures=("posterise-2",), seeds=(1, 2), steps=3
)
ATTEMPTS = 6  # clean, protected, protected and posterised, with two seeds


class BreaksOffError(Exception):
    pass


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seeds of the attempts that were made and not taken up."""
    seeds: list[int] = []

    def watched(*arguments: object, seed: int, **options: object) -> Attempt:
        seeds.append(seed)
        return attempt(*arguments, seed=seed, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(examination, "attempt", watched)
    return seeds


def protected(shade: int) -> Pairs:
    clean = pairs(count=32).clean
    return pairs(covered(clean.images, clean.labels) + np.uint8(shade), count=32)


def audit(
    folder: Path | None,
    shade: int = 0,
    say: Callable[[str], None] = lambda _: None,
    progress: Progress = lambda *_: None,
) -> Examination:
    return examine(protected(shade), BUDGET, state=State(folder), say=say, progress=progress)


def break_off_at_the_second(lines: list[str]) -> Callable[[str], None]:
    def say(line: str) -> None:
        lines.append(line)
        if len(lines) == 2:
            raise BreaksOffError

    return say


def test_an_audit_that_broke_off_goes_on_to_the_same_findings(
    tmp_path: Path, made: list[int]
) -> None:
    with pytest.raises(BreaksOffError):
        audit(tmp_path, say=break_off_at_the_second([]))
    assert made == [1, 2, 1, 2]
    resumed = audit(tmp_path)
    assert len(made) == ATTEMPTS
    assert asdict(resumed) == asdict(audit(None))


def test_it_says_where_it_is_before_its_first_training_ends() -> None:
    told: list[tuple[str, int, int]] = []
    said: list[str] = []

    def pull(stage: str, done: int, steps: int, _figures: dict[str, float]) -> None:
        told.append((stage, done, steps))
        if done == 2:
            raise BreaksOffError

    with pytest.raises(BreaksOffError):
        audit(None, say=said.append, progress=pull)
    first = "training 1 of 6: vgg, none, clean, seed 1"
    assert told == [(first, 0, 18), (first, 0, 18), (first, 1, 18), (first, 2, 18)]
    assert not said


def test_an_audit_that_broke_off_within_a_training_goes_on_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    done_again: list[int] = []

    def pull(_stage: str, done: int, _steps: int, _figures: dict[str, float]) -> None:
        if done == 3 * BUDGET.steps + 2:
            raise BreaksOffError

    with pytest.raises(BreaksOffError):
        audit(tmp_path, progress=pull)
    (left,) = tmp_path.glob(f"*{UNFINISHED}")
    assert left.stat().st_mode & 0o777 == 0o600
    assert load_tensors(left)["step"] == 2
    resumed = audit(tmp_path, progress=lambda _stage, done, *_: done_again.append(done))
    assert 3 * BUDGET.steps + 1 not in done_again
    assert not list(tmp_path.glob(f"*{UNFINISHED}"))
    assert asdict(resumed) == asdict(audit(None))


def test_a_damaged_unfinished_training_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)

    def pull(_stage: str, done: int, _steps: int, _figures: dict[str, float]) -> None:
        if done == 2:
            raise BreaksOffError

    with pytest.raises(BreaksOffError):
        audit(tmp_path, progress=pull)
    (left,) = tmp_path.glob(f"*{UNFINISHED}")
    left.write_bytes(left.read_bytes()[:-40])
    assert asdict(audit(tmp_path)) == asdict(audit(None))


def test_a_finished_audit_is_told_again_without_training(tmp_path: Path, made: list[int]) -> None:
    first = audit(tmp_path)
    assert asdict(audit(tmp_path)) == asdict(first)
    assert len(made) == ATTEMPTS


def test_audits_of_two_protections_share_what_learned_from_clean_images(
    tmp_path: Path, made: list[int]
) -> None:
    audit(tmp_path)
    audit(tmp_path, shade=1)
    assert len(made) == 2 * ATTEMPTS - 2


def test_only_networks_that_are_needed_again_are_kept_and_all_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "state"
    audit(folder)
    kept = [path.suffix for path in folder.iterdir()]
    assert (kept.count(".npz"), kept.count(".safetensors"), len(kept)) == (ATTEMPTS, 2, 8)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_what_is_damaged_is_made_anew(tmp_path: Path, made: list[int], suffix: str) -> None:
    first = audit(tmp_path)
    for path in tmp_path.glob(f"*{suffix}"):
        path.write_bytes(path.read_bytes()[:-40])
    damaged = len(list(tmp_path.glob(f"*{suffix}")))
    assert asdict(audit(tmp_path)) == asdict(first)
    assert len(made) == ATTEMPTS + damaged


def test_pickles_are_never_loaded(tmp_path: Path, made: list[int]) -> None:
    audit(tmp_path)
    for path in tmp_path.glob("*.npz"):
        np.savez(path, **dict.fromkeys(np.load(path), np.array([print], dtype=object)))
    audit(tmp_path)
    assert len(made) == 2 * ATTEMPTS


def test_a_state_among_the_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="among the images"):
        State(tmp_path / "out" / "state", apart_from=(tmp_path / "clean", tmp_path / "out"))
    assert not list(tmp_path.iterdir())


def test_a_state_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        State(tmp_path / "file" / "state")


def test_a_digest_tells_values_shapes_and_types_apart() -> None:
    array = np.arange(6, dtype=np.uint8)
    others = [array + 1, array.reshape(2, 3), array.astype(np.int64), array.reshape(2, 3).T]
    assert len({digest(each) for each in (array, *others)}) == 5
    assert digest(array) == digest(array.copy())
